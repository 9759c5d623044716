"""Tests the interpreted TPU Performer attention against the float64 formula."""

import re

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels.performer_attention import api
from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import roofline
from clinometer.kernels.performer_attention import tpu
from clinometer.kernels.tpu import chips
from clinometer.tests.kernels.performer_attention import dense

V4, V5E = "TPU v4", "TPU v5e"
INTERPRET = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
slow = pytest.mark.slow


def both(arrays, key_mask=None, chip=V4, sizes=(), **settings):
    """Returns the output and the gradients of sum(output * gradient).

    Not under jit: interpreted kernels share one memory, so each is its own program.
    """
    *operands, gradient = arrays

    def attend(query, key, value):
        return kernels.performer_attention(
            query, key, value, key_mask=key_mask, implementation="tpu", **settings
        )

    with (
        kernels.target(chip),
        kernels.block_sizes(sizes),
        kernels.interpret(INTERPRET),
    ):
        output, pull = jax.vjp(attend, *operands)
        gradients = pull(jnp.asarray(gradient, output.dtype))
        return jax.block_until_ready((output, *gradients))


def assert_right(got, arrays, tolerance, key_mask=None, **settings):
    """Compares everything with the formula, relative to the largest entry or 0.1."""
    arrays = [np.asarray(x, np.float64) for x in arrays]
    want = dense.attend(*arrays[:3], key_mask=key_mask, **settings)
    wants = dense.gradients(*arrays, key_mask=key_mask, **settings)
    for g, w in zip(got, (want, *wants), strict=True):
        assert g.shape == w.shape
        error = np.abs(np.asarray(g, np.float64) - w).max()
        assert error < tolerance * max(np.abs(w).max(), 0.1)


def random_mask(batch, length):
    mask = np.random.default_rng(2).random((batch, length)) < 0.8
    mask[:, 0] = True
    return mask


# Batch, length, heads, key-value heads, width: whole and partial chunks and groups, and
# more than are one run of instructions; tiles partly filled; padded and wide heads.
@pytest.mark.parametrize(
    ("shape", "masked", "chip"),
    [
        ((2, 7, 2, 1, 64), False, V5E),
        pytest.param((1, 130, 3, 3, 64), True, V4, marks=slow),
        pytest.param((1, 65, 1, 1, 24), True, V5E, marks=slow),
        pytest.param((2, 1, 1, 1, 8), False, V4, marks=slow),
        pytest.param((1, 200, 8, 2, 32), True, V5E, marks=slow),
        pytest.param((1, 127, 2, 2, 128), False, V4, marks=slow),
        pytest.param((1, 130, 1, 1, 130), True, V4, marks=slow),
        pytest.param((1, 700, 2, 2, 64), True, V4, marks=slow),
        pytest.param((3, 64, 3, 1, 33), True, V5E, marks=slow),
    ],
)
def test_causal(shape, masked, chip, capsys):
    batch, length, num_heads, groups, width = shape
    arrays = dense.draw(1, batch, length, length, num_heads, groups, width)
    mask = random_mask(batch, length) if masked else None
    got = both(arrays, mask, chip, causal=True)
    # The gradients of an early query divide by a denominator of few small weights.
    assert_right(got, arrays, 2e-5, mask, causal=True)
    assert "RACE" not in capsys.readouterr().out


# Batch, queries, keys, heads, key-value heads, width.
@pytest.mark.parametrize(
    ("shape", "masked"),
    [
        ((2, 7, 40, 3, 3, 64), False),
        pytest.param((1, 130, 64, 2, 1, 24), True, marks=slow),
        pytest.param((2, 64, 64, 8, 8, 32), True, marks=slow),
        pytest.param((1, 1, 130, 1, 1, 130), False, marks=slow),
    ],
)
def test_bidirectional(shape, masked, capsys):
    batch, num_queries, num_keys, num_heads, groups, width = shape
    arrays = dense.draw(1, batch, num_queries, num_keys, num_heads, groups, width)
    mask = random_mask(batch, num_keys) if masked else None
    assert_right(both(arrays, mask), arrays, 2e-5, mask)
    assert "RACE" not in capsys.readouterr().out


@slow
@pytest.mark.parametrize("tiles", [1, 2])
def test_a_state_is_carried_between_programs(tiles):
    arrays = dense.draw(3, 2, 300, 300, 4, 4, 64)
    mask = random_mask(2, 300)
    sizes = kernels.PerformerBlocks(rows=128, tiles=tiles)
    got = both(arrays, mask, sizes=sizes, causal=True)
    assert_right(got, arrays, 2e-5, mask, causal=True)


@slow
def test_bfloat16():
    arrays = dense.draw(3, 1, 150, 150, 2, 2, 64)
    arrays = tuple(jnp.asarray(x, jnp.bfloat16) for x in arrays)
    got = both(arrays, causal=True)
    assert all(x.dtype == jnp.bfloat16 for x in got)
    assert_right(got, arrays, 3e-2, causal=True)


@slow
def test_no_key_gives_zero_and_masked_keys_get_nothing():
    arrays = dense.draw(4, 3, 20, 20, 2, 2, 32)
    mask = np.ones((3, 20), bool)
    mask[0] = False
    mask[1, :15] = False
    got = both(arrays, mask, causal=True)
    assert_right(got, arrays, 2e-5, mask, causal=True)
    output, query_grad, key_grad, value_grad = (np.asarray(x) for x in got)
    for x in (output, query_grad):
        assert not np.any(x[0]) and not np.any(x[1, :15])
    assert not np.any(key_grad[~mask]) and not np.any(value_grad[~mask])
    query, key, value, gradient = arrays
    nothing = both((-np.abs(query), key, value, gradient), causal=True, epsilon=0.0)
    assert not any(np.any(x) for x in nothing)


@slow
def test_keys_to_come_change_nothing_to_the_bit():
    query, key, value, gradient = dense.draw(9, 1, 100, 100, 2, 2, 32)
    before = both((query, key, value, gradient), causal=True)[0]
    key[:, 90:], value[:, 90:] = 1e6, 1e6
    after = both((query, key, value, gradient), causal=True)[0]
    np.testing.assert_array_equal(before[:, :90], after[:, :90])


@slow
def test_vmap_equals_a_loop():
    query, key, value, gradient = (
        x.reshape(2, 1, *x.shape[1:]) for x in dense.draw(6, 2, 9, 9, 1, 1, 32)
    )

    def run(query, value):
        return both((query, key[0], value, gradient[0]), causal=True)

    got = jax.vmap(run)(query, value)
    for i in range(2):
        one = (query[i], key[0], value[i], gradient[0])
        assert_right([g[i] for g in got], one, 2e-5, causal=True)


def chosen(shape, dtype=jnp.float32, **settings):
    array = jax.ShapeDtypeStruct(shape, dtype)
    mask = jax.ShapeDtypeStruct((1, 0), jnp.float32)
    operands = {"query": array, "key": array, "value": array, "mask": mask}
    settings = {"causal": True, "epsilon": 1e-3} | settings
    return kernels.dispatch.choose(
        api.FORWARD, operands, settings, "auto", "tpu", "TPU v5e"
    )


def test_what_is_left_to_xla_says_why():
    assert chosen((1, 9, 2, 64)).implementation == "tpu"
    wide = chosen((1, 9, 2, 257))
    assert wide.implementation == "reference"
    assert "wider than 256" in wide.passed_over[0]
    assert chosen((1, 512, 2, 64), causal=False).implementation == "tpu"
    long = chosen((1, 4096, 2, 64), causal=False)
    assert long.implementation == "reference"
    assert "(4096 queries, 4096 keys)" in long.passed_over[0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"rows": 100}, "rows: got 100; accepted are multiples of 128"),
        ({"rows": 1024}, "rows: got 1024; .* up to the padded length of 640"),
        ({"tiles": 3}, "tiles: got 3; accepted are divisors of the 4 tiles of 8 heads"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    asked = kernels.PerformerBlocks(**sizes)
    with (
        kernels.block_sizes(asked),
        pytest.raises(ValueError, match=f"PerformerBlocks: {message}"),
    ):
        blocks.choose(chips.CHIPS["v5e"], 600, 8, 64, 8)


def test_sizes_that_need_too_much_memory():
    asked = kernels.PerformerBlocks(rows=8192, tiles=4)
    with (
        kernels.block_sizes(asked),
        pytest.raises(ValueError, match="rows 8192 and tiles 4 need .* MiB of VMEM"),
    ):
        blocks.choose(chips.CHIPS["v5e"], 8192, 8, 64, 16)


def test_the_kernels_lower_for_tpus_without_one():
    arrays = [jnp.asarray(x) for x in dense.draw(0, 2, 40, 40, 3, 3, 64)]

    def step(query, key, value, gradient):
        output, pull = jax.vjp(
            lambda *x: kernels.performer_attention(
                *x, causal=True, implementation="tpu"
            ),
            query,
            key,
            value,
        )
        return output, pull(gradient)

    for chip in (V4, V5E):
        with kernels.target(chip):
            traced = jax.jit(step).trace(*arrays)
            text = traced.lower(lowering_platforms=("tpu",)).as_text()
        assert len(re.findall("tpu_custom_call", text)) == 2


def test_executed_products():
    array = jax.ShapeDtypeStruct((8, 512, 8, 64), jnp.bfloat16)
    flops = tpu.FORWARD.executed_flops(query=array, key=array, causal=True)
    # 4 tiles of 2 heads; of 128 positions, weights and values of 128 and of 64 rows by
    # a chunk's 128 columns, and the state twice.
    rows = 4 * (128 + 64 + 128 + 64 + 128 + 128)
    assert flops == 2 * 8 * 4 * rows * 128 * 128
    flops = tpu.FORWARD.executed_flops(query=array, key=array, causal=False)
    assert flops == 2 * 8 * 4 * 2 * 512 * 128 * 128


def test_the_rooflines_are_those_worked_by_hand():
    # Four arrays of 4.2 MB are 31k cycles of v5e's memory. 32 tiles; 512 positions a
    # product, 4 units: weights, values, reading a state, adding to it.
    v5e = chips.CHIPS["v5e"]
    array = jax.ShapeDtypeStruct((8, 512, 8, 64), jnp.bfloat16)
    mask = jax.ShapeDtypeStruct((1, 0), jnp.float32)
    settings = {"causal": True, "epsilon": 1e-3}
    operands = {"query": array, "key": array, "value": array, "mask": mask}
    ahead = roofline.forward(v5e, operands, settings)
    assert ahead.binds == "hbm" and ahead.hbm == pytest.approx(31e3, rel=0.01)
    assert ahead.mxu == pytest.approx(32 * 4 * 512 / 4, rel=0.01)
    denominator = jax.ShapeDtypeStruct((8, 8, 512), jnp.float32)
    more = {"output": array, "denominator": denominator, "output_grad": array}
    back = roofline.backward(v5e, operands | more, settings)
    assert back.hbm == pytest.approx(62e3, rel=0.01)
    assert back.mxu == pytest.approx(32 * 11 * 512 / 4, rel=0.01)
    both = roofline.forward(v5e, operands, settings | {"causal": False})
    assert both.mxu == pytest.approx(ahead.mxu / 2)
