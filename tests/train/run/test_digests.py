"""Tests of the digests of a state, against an implementation in NumPy."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.train import state as state_lib
from clinometer.train.run import digests

_DTYPES = ("float32", "bfloat16", "float16", "int32", "uint8", "int8", "bool")


def _mix(x):
    """The finaliser of MurmurHash3, on integers of 64 bits, of which 32 are kept."""
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(2**32 - 1)
    x = ((x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(2**32 - 1)
    return x ^ (x >> np.uint64(16))


def _expected(array):
    """The digest of one leaf."""
    bits = np.ascontiguousarray(array).view(f"uint{8 * array.itemsize}")
    index = np.arange(1, array.size + 1, dtype=np.uint64)
    place = _mix(index)
    mixed = _mix(bits.ravel().astype(np.uint64) ^ place)
    weighted = mixed * (2 * place + np.uint64(1))
    return "".join(f"{int(x.sum()) % 2**32:08x}" for x in (mixed, weighted))


def _state(array, module="token_embedding"):
    leaves = {module: {"table": array}}
    return state_lib.TrainState(jnp.int32(3), leaves, {})


def _digest(array):
    return digests.compute(_state(array))["['params']['token_embedding']['table']"]


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 3), (3, 2, 4)])
def test_as_in_numpy(dtype, shape):
    values = 40 * np.random.default_rng(0).normal(size=shape)
    array = jnp.asarray(values).astype(dtype)
    assert _digest(array) == _expected(np.asarray(array))


def test_words_of_64_bits_are_two():
    with jax.enable_x64():
        array = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        assert array.dtype == np.float64
        assert _digest(array) == _expected(np.asarray(array).view(np.uint32))


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (5, 5)])
def test_any_bit_counts(table, place):
    before, seen = _digest(jnp.asarray(table)), set()
    for bit in range(32):
        flipped = table.copy()
        flipped.view(np.uint32)[place] ^= np.uint32(1 << bit)
        seen.add(_digest(jnp.asarray(flipped)))
    assert len(seen) == 32 and before not in seen
    # Each of the two sums sees it.
    for half in (slice(0, 8), slice(8, 16)):
        assert before[half] not in {digest[half] for digest in seen}


def test_places_count(table):
    before = _digest(jnp.asarray(table))
    changed = [table.T, table[::-1], table[:, ::-1], np.roll(table, 1), -table]
    swapped = table.copy()
    swapped[0, 0], swapped[4, 2] = table[4, 2], table[0, 0]
    opposite = table.copy()
    opposite[0, 0], opposite[4, 2] = 1.5, -1.5  # Their bits differ by 2^31.
    opposite_swapped = opposite.copy()
    opposite_swapped[0, 0], opposite_swapped[4, 2] = -1.5, 1.5
    changed += [swapped, opposite, opposite_swapped]
    found = [_digest(jnp.asarray(array)) for array in changed]
    assert len({before, *found}) == len(changed) + 1
    ones = [_digest(jnp.full((8, 8), value, jnp.int32)) for value in range(4)]
    assert len(set(ones)) == 4


def test_a_stack_has_the_digests_of_its_layers():
    layers = np.random.default_rng(2).normal(size=(3, 5, 4)).astype(np.float32)
    counts = np.arange(3, dtype=np.int32)
    stacked = {"encoder/layers/layer/ffn": {"w": jnp.asarray(layers)}}
    slots = {
        "encoder/layers/layer/ffn": {"w": (jnp.asarray(counts), jnp.asarray(layers))}
    }
    state = state_lib.TrainState(jnp.int32(3), stacked, slots)
    loop = state_lib.TrainState(
        jnp.int32(3),
        {
            f"encoder/layer_{i}/ffn": {"w": jnp.asarray(layer)}
            for i, layer in enumerate(layers)
        },
        {
            f"encoder/layer_{i}/ffn": {"w": (jnp.int32(i), jnp.asarray(layer))}
            for i, layer in enumerate(layers)
        },
    )
    found = digests.compute(state)
    assert found == digests.compute(loop)
    assert len(found) == 1 + 3 + 2 * 3
    assert found["['params']['encoder/layer_1/ffn']['w']"] == _expected(layers[1])
    assert found["['optimizer']['[0]']['encoder/layer_2/ffn']['w']"] == _expected(
        counts[2]
    )
    found = digests.compute_crc32(state)
    assert found == digests.compute_crc32(loop)
    name = "['params']['encoder/layer_1/ffn']['w']"
    assert found[name] == zlib.crc32(layers[1].tobytes())
