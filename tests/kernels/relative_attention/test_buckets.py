"""Tests relative position buckets against a list of their first distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import relative_position_bucket

# First distances, as ARCHITECTURES.md#transformer-relative-position-bias lists them.
ENCODER = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
DECODER = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


def expected_bucket(distance: int, starts: list[int]) -> int:
    return max(bucket for bucket, start in enumerate(starts) if start <= distance)


def test_encoder_buckets_equal_the_list():
    relative = np.arange(-600, 601)
    got = relative_position_bucket(jnp.asarray(relative), bidirectional=True)
    want = [expected_bucket(abs(r), ENCODER) + (16 if r > 0 else 0) for r in relative]
    np.testing.assert_array_equal(got, want)


def test_decoder_buckets_equal_the_list():
    relative = np.arange(-600, 601)
    got = relative_position_bucket(jnp.asarray(relative), bidirectional=False)
    want = [expected_bucket(max(-r, 0), DECODER) for r in relative]
    np.testing.assert_array_equal(got, want)


def test_a_shifted_boundary_would_be_seen():
    moved = [*DECODER[:-1], 114]
    assert expected_bucket(113, moved) != expected_bucket(113, DECODER)


@pytest.mark.parametrize(
    ("bidirectional", "num_buckets", "max_distance"),
    [(True, 4, 2), (True, 64, 256), (False, 2, 2), (False, 7, 100), (False, 32, 4096)],
)
def test_other_sizes_equal_the_formula(bidirectional, num_buckets, max_distance):
    """T5's definition: half are exact, half are by the logarithm of the distance."""
    relative = np.arange(-5000, 5001)
    got = relative_position_bucket(
        jnp.asarray(relative),
        bidirectional=bidirectional,
        num_buckets=num_buckets,
        max_distance=max_distance,
    )
    distance = np.abs(relative) if bidirectional else np.maximum(-relative, 0)
    one_sided = num_buckets // 2 if bidirectional else num_buckets
    exact = one_sided // 2
    # Of whole numbers raised to a power, which round no distance the wrong way:
    # bucket exact + i begins where (distance / exact)^n >= (most / exact)^i.
    n = one_sided - exact
    want = np.minimum(distance, exact)
    for i in range(1, n):
        begun = [int(d) ** n * exact**i >= max_distance**i * exact**n for d in distance]
        want += np.asarray(begun, int)
    want += one_sided * (bidirectional & (relative > 0))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,)])
def test_any_rank(shape):
    relative = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    got = relative_position_bucket(jnp.asarray(relative), bidirectional=False)
    np.testing.assert_array_equal(got, np.zeros(shape))


def test_any_shape_under_jit():
    relative = jnp.arange(-6, 6).reshape(2, 3, 2)
    function = jax.jit(lambda x: relative_position_bucket(x, bidirectional=True))
    assert function(relative).shape == (2, 3, 2)
    assert function(relative).dtype == jnp.int32
    assert function(jnp.asarray(-8)) == 8


@pytest.mark.parametrize(
    "kwargs", [{"num_buckets": 2}, {"num_buckets": 32, "max_distance": 8}]
)
def test_impossible_buckets_are_an_error(kwargs):
    with pytest.raises(ValueError, match="max_distance"):
        relative_position_bucket(jnp.arange(3), bidirectional=True, **kwargs)
