"""Tests values and gradients of Performer attention against float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import performer_attention
from clinometer.tests.kernels.performer_attention import dense

IMPLEMENTATIONS = ("reference", "cpu")
MOSTLY_CPU = (pytest.param("reference", marks=pytest.mark.slow), "cpu")


@functools.partial(jax.jit, static_argnames=("causal", "epsilon", "implementation"))
def both(query, key, value, gradient, key_mask=None, **settings):
    """Returns the output and the gradients of sum(output * gradient)."""

    def attend(query, key, value):
        return performer_attention(query, key, value, key_mask=key_mask, **settings)

    output, pull = jax.vjp(attend, query, key, value)
    return output, pull(gradient.astype(output.dtype))


def assert_right(arrays, key_mask, tolerance, **settings):
    """Compares everything with the formula, relative to the largest entry or 0.1."""
    output, grads = both(*arrays, key_mask, **settings)
    query, key, value, gradient = (np.asarray(x, np.float64) for x in arrays)
    named = {k: v for k, v in settings.items() if k != "implementation"}
    want = dense.attend(query, key, value, key_mask=key_mask, **named)
    wants = dense.gradients(query, key, value, gradient, key_mask=key_mask, **named)
    for got, wanted in zip((output, *grads), (want, *wants), strict=True):
        assert got.shape == wanted.shape
        assert got.dtype == arrays[0].dtype
        scale = max(np.abs(wanted).max(), 0.1)
        error = np.abs(np.asarray(got, np.float64) - wanted).max()
        assert error < tolerance * scale


def test_the_formula_has_the_right_gradients():
    *arrays, gradient = dense.draw(0, 1, 5, 5, 2, 1, 3)
    mask = np.array([[True, False, True, True, True]])
    arrays = [x.astype(np.float64) for x in arrays]
    wants = dense.gradients(*arrays, gradient, True, mask)
    step = 1e-6
    for i, want in enumerate(wants):
        for index in np.ndindex(*arrays[i].shape):
            sums = []
            for sign in (1, -1):
                moved = [x.copy() for x in arrays]
                moved[i][index] += sign * step
                sums.append(np.sum(dense.attend(*moved, True, mask) * gradient))
            slope = (sums[0] - sums[1]) / (2 * step)
            assert abs(slope - want[index]) < 1e-5


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("batch", "num_queries", "num_keys", "num_heads", "groups", "width"),
    [
        (2, 1, 1, 1, 1, 8),
        (1, 7, 7, 2, 1, 5),
        (2, 65, 65, 3, 3, 33),
        (1, 130, 130, 8, 2, 64),
        (2, 65, 7, 2, 2, 20),
        (1, 3, 130, 1, 1, 16),
    ],
)
def test_values_and_gradients(
    implementation, causal, batch, num_queries, num_keys, num_heads, groups, width
):
    if causal and num_queries != num_keys:
        return
    arrays = dense.draw(1, batch, num_queries, num_keys, num_heads, groups, width)
    mask = np.random.default_rng(2).random((batch, num_keys)) < 0.8
    mask[:, 0] = True
    settings = {"causal": causal, "implementation": implementation}
    # The gradients of an early query divide by a denominator of few small weights.
    assert_right(arrays, mask, 2e-5, **settings)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("causal", [False, True])
def test_bfloat16(implementation, causal):
    arrays = dense.draw(3, 2, 33, 33, 2, 1, 16)
    arrays = tuple(jnp.asarray(x, jnp.bfloat16) for x in arrays)
    assert_right(arrays, None, 2e-2, causal=causal, implementation=implementation)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("causal", [False, True])
def test_no_key_gives_zero_and_masked_keys_get_nothing(implementation, causal):
    arrays = dense.draw(4, 3, 20, 20, 2, 2, 8)
    mask = np.ones((3, 20), bool)
    mask[0] = False
    mask[1, :15] = False  # padded at the left: causal queries before 15 have no key
    mask[2, 5:] = False
    settings = {"causal": causal, "implementation": implementation}
    assert_right(arrays, mask, 2e-5, **settings)
    output, (query_grad, key_grad, value_grad) = both(*arrays, mask, **settings)
    assert not np.any(output[0])
    assert not np.any(query_grad[0])
    if causal:
        assert not np.any(output[1, :15])
        assert not np.any(query_grad[1, :15])
    assert not np.any(np.asarray(key_grad)[~mask])
    assert not np.any(np.asarray(value_grad)[~mask])
    # What stands at a masked key changes nothing, to the bit.
    query, key, value, gradient = arrays
    key = np.where(mask[:, :, None, None], key, 7.0).astype(np.float32)
    value = np.where(mask[:, :, None, None], value, -50.0).astype(np.float32)
    again, _ = both(query, key, value, gradient, mask, **settings)
    np.testing.assert_array_equal(output, again)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("seen", [0, 11, 12, 64, 99])
def test_no_gradient_from_the_future(implementation, seen):
    query, key, value, gradient = dense.draw(5, 1, 100, 100, 2, 2, 8)
    gradient = np.where(np.arange(100)[:, None, None] <= seen, gradient, 0.0)
    gradient = gradient.astype(np.float32)
    _, grads = both(
        query, key, value, gradient, causal=True, implementation=implementation
    )
    for x in grads:
        assert not np.any(x[:, seen + 1 :])
    assert np.all(np.any(np.asarray(grads[2][:, : seen + 1]), axis=-1))


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
def test_large_keys_to_come_change_nothing_to_the_bit(implementation):
    query, key, value, gradient = dense.draw(9, 1, 100, 100, 2, 2, 8)
    settings = {"causal": True, "implementation": implementation}
    output, _ = both(query, key, value, gradient, **settings)
    key[:, 90:], value[:, 90:] = 1e6, 1e6
    again, _ = both(query, key, value, gradient, **settings)
    np.testing.assert_array_equal(output[:, :90], again[:, :90])


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("causal", [False, True])
def test_the_scale_of_queries_does_not_matter_without_epsilon(implementation, causal):
    query, key, value, gradient = dense.draw(6, 1, 70, 70, 2, 2, 16)
    settings = {"causal": causal, "epsilon": 0.0, "implementation": implementation}
    output, _ = both(query, key, value, gradient, **settings)
    scaled, _ = both(8 * query, key, value, gradient, **settings)
    np.testing.assert_allclose(output, scaled, atol=1e-6)
    # Nothing but zeros: no weight is left, and no division by it.
    output, grads = both(-np.abs(query), key, value, gradient, **settings)
    for x in (output, *grads):
        assert not np.any(x)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
def test_equal_values_come_out_and_order_does_not_matter(implementation):
    query, key, value, gradient = dense.draw(7, 2, 40, 50, 2, 2, 16)
    settings = {"causal": False, "implementation": implementation}
    output, _ = both(query, key, np.full_like(value, 3.5), gradient, **settings)
    np.testing.assert_allclose(output, 3.5, rtol=1e-6)
    order = np.random.default_rng(0).permutation(50)
    output, _ = both(query, key, value, gradient, **settings)
    mixed, _ = both(query, key[:, order], value[:, order], gradient, **settings)
    np.testing.assert_allclose(output, mixed, atol=1e-5)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_nan_is_not_hidden(implementation, which):
    arrays = [np.array(x) for x in dense.draw(8, 1, 9, 9, 1, 1, 5)]
    arrays[which][0, 4, 0, 2] = np.nan
    output, grads = both(*arrays, causal=True, implementation=implementation)
    assert np.any(np.isnan(output[0, 4]))
    # Values are not in their own gradient.
    assert all(np.any(np.isnan(x)) for x in (grads if which < 2 else grads[:2]))
