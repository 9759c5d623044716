"""Tests of the native CPU operations, against a list of first distances."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import relative_position_bucket as reference_bucket
from clinometer.kernels.cpu import native

# 32 buckets and maximum distance 128: first distance of each bucket.
ENCODER_STARTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
DECODER_STARTS = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77]
DECODER_STARTS += [87, 99, 113]
POSITIONS = np.arange(-300, 301, dtype=np.int32)


def expected(position: int, bidirectional: bool) -> int:
    """Returns the bucket by a plain reading of the list."""
    starts = ENCODER_STARTS if bidirectional else DECODER_STARTS
    distance = abs(position) if bidirectional else max(-position, 0)
    bucket = max(b for b, start in enumerate(starts) if distance >= start)
    return bucket + (16 if bidirectional and position > 0 else 0)


def mutated(position: int) -> int:
    """Like `expected` for the encoder, with one boundary moved by one."""
    distance = abs(position)
    starts = [91 + 1 if start == 91 else start for start in ENCODER_STARTS]
    bucket = max(b for b, start in enumerate(starts) if distance >= start)
    return bucket + (16 if position > 0 else 0)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_equal_the_list(bidirectional):
    want = [expected(int(p), bidirectional) for p in POSITIONS]
    got = native.relative_position_bucket(POSITIONS, bidirectional=bidirectional)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


def test_a_moved_boundary_is_seen():
    got = native.relative_position_bucket(POSITIONS, bidirectional=True)
    different = np.asarray(got) != [mutated(int(p)) for p in POSITIONS]
    assert sorted(POSITIONS[different]) == [-91, 91]


@pytest.mark.parametrize(
    ("bidirectional", "num_buckets", "max_distance"),
    [(True, 4, 2), (True, 64, 256), (False, 2, 2), (False, 7, 100), (False, 32, 4096)],
)
def test_other_sizes_equal_the_jax_form(bidirectional, num_buckets, max_distance):
    settings = {
        "bidirectional": bidirectional,
        "num_buckets": num_buckets,
        "max_distance": max_distance,
    }
    positions = jnp.arange(-5000, 5001, dtype=jnp.int32)
    np.testing.assert_array_equal(
        native.relative_position_bucket(positions, **settings),
        reference_bucket(positions, **settings),
    )


def test_extreme_positions():
    info = np.iinfo(np.int32)
    positions = jnp.asarray([info.min, info.max], jnp.int32)
    both = native.relative_position_bucket(positions, bidirectional=True)
    causal = native.relative_position_bucket(positions, bidirectional=False)
    assert both.tolist() == [15, 31]
    assert causal.tolist() == [31, 0]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3, 4)])
def test_any_rank_under_jit(shape):
    positions = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    bucket = jax.jit(lambda p: native.relative_position_bucket(p, bidirectional=True))(
        positions
    )
    assert bucket.shape == shape
    want = [expected(int(p), True) for p in positions.ravel()]
    np.testing.assert_array_equal(np.ravel(bucket), np.asarray(want, np.int32))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_vmap_over_any_axis(axis):
    rng = np.random.default_rng(0)
    positions = rng.integers(-200, 200, (3, 4, 5), dtype=np.int32)

    def bucket(p):
        return native.relative_position_bucket(p, bidirectional=False)

    got = jax.jit(jax.vmap(bucket, in_axes=axis, out_axes=axis))(positions)
    want = np.vectorize(lambda p: expected(int(p), False))(positions)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bidirectional": True, "num_buckets": 31}, "even num_buckets; got 31"),
        ({"bidirectional": True, "num_buckets": 2}, "num_buckets must be 2 to 65536"),
        ({"bidirectional": False, "num_buckets": -1}, "got -1"),
        ({"bidirectional": False, "max_distance": 16}, "max_distance must exceed 16"),
    ],
)
def test_bad_attributes_are_named(settings, message):
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        native.relative_position_bucket(POSITIONS, **settings).block_until_ready()


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=f"int32 positions; got {np.dtype(dtype)}"):
        native.relative_position_bucket(np.zeros(3, dtype), bidirectional=True)


def test_headers_of_another_version_are_refused(tmp_path):
    header = tmp_path / "xla/ffi/api/c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define XLA_FFI_API_MAJOR 7\n#define XLA_FFI_API_MINOR 12\n")
    running = native.header_api_version(str(tmp_path))
    assert running == (7, 12)
    with pytest.raises(ImportError, match=r"built for version 7\.11 .* has 7\.12"):
        native.check_api_version((7, 11), running)
    native.check_api_version((7, 12), running)


def test_auto_says_once_what_is_wrong_with_the_extension():
    code = """
import jax
from clinometer import kernels
from clinometer.kernels.cpu import _native

_native.FFI_API_VERSION = (0, 99)
x, weights = jax.numpy.ones((1, 8, 4)), jax.numpy.ones((2, 3))
for _ in range(2):
    for implementation in ("reference", "auto"):
        jax.clear_caches()
        kernels.light_conv(x, weights, causal=True, implementation=implementation)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    (line,) = result.stderr.splitlines()
    assert "built for version 0.99" in line and "jnp forms run in place" in line
    assert "--no-build-isolation" in line


def test_unreadable_headers_are_refused(tmp_path):
    with pytest.raises(ImportError, match="cannot read"):
        native.header_api_version(str(tmp_path))
    header = tmp_path / "xla/ffi/api/c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define XLA_FFI_API_MAJOR 0\n")
    with pytest.raises(ImportError, match="defines no"):
        native.header_api_version(str(tmp_path))


def test_a_missing_extension_says_how_to_build_it():
    # A None in sys.modules is how Python spells a module that cannot be imported.
    code = (
        "import sys; sys.modules['clinometer.kernels.cpu._native'] = None\n"
        "from clinometer.kernels.cpu import native"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "ImportError: clinometer's C++ extension" in result.stderr
    assert "pip install -e ." in result.stderr
