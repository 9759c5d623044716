"""Tests the interpreted TPU convolutions against float64 NumPy."""

import re

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels.convolution import blocks
from clinometer.kernels.convolution import dynamic
from clinometer.kernels.convolution import light
from clinometer.kernels.convolution import roofline
from clinometer.kernels.convolution import tpu
from clinometer.kernels.tpu import chips
from clinometer.tests.kernels.convolution import direct

OPS = {"light": kernels.light_conv, "dynamic": kernels.dynamic_conv}
V4, V5E = "TPU v4", "TPU v5e"
INTERPRET = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
slow = pytest.mark.slow


def arguments(op, shape, dtype=jnp.float32, seed=0):
    batch, length, channels, heads, taps, _ = shape
    rng = np.random.default_rng(seed)
    lead = () if op == "light" else (batch, length)
    x = rng.normal(size=(batch, length, channels))
    weights = rng.dirichlet(np.ones(taps), size=(*lead, heads))
    output_grad = rng.normal(size=x.shape)
    return tuple(jnp.asarray(a, dtype) for a in (x, weights, output_grad))


def step(op, causal):
    """Returns a function to the output and the gradients."""

    def run(x, weights, output_grad):
        output, vjp = jax.vjp(
            lambda x, w: OPS[op](x, w, causal=causal, implementation="tpu"), x, weights
        )
        return output, *vjp(output_grad)

    return run


def interpreted(function, *args, chip=V4, sizes=()):
    """Returns `function(*args)`.

    Not under jit: interpreted kernels share one memory, so each is its own program.
    """
    with (
        kernels.target(chip),
        kernels.block_sizes(sizes),
        kernels.interpret(INTERPRET),
    ):
        return jax.block_until_ready(function(*args))


def assert_right(got, arrays, causal):
    """Compares with the defining sum: one rounding of float32 sums."""
    want = (direct.convolve(*arrays[:2], causal), *direct.gradients(*arrays, causal))
    for g, w, x in zip(got, want, (arrays[0], *arrays[:2]), strict=True):
        assert g.shape == w.shape and g.dtype == x.dtype
        low = g.dtype == jnp.bfloat16
        tolerance = {"rtol": 2**-8, "atol": 1e-4} if low else {"rtol": 1e-5}
        tolerance.setdefault("atol", 3e-5)
        np.testing.assert_allclose(np.asarray(g, np.float64), w, **tolerance)


# Batch, length, channels, heads, taps, causal. A head's taps across two registers: the
# fifth of 31. Two pieces of rows in a block of 96, and one that is partly filled.
@pytest.mark.parametrize(
    ("op", "shape", "dtype", "chip"),
    [
        ("light", (2, 70, 256, 2, 31, True), jnp.float32, V5E),
        ("light", (2, 37, 128, 2, 31, False), jnp.bfloat16, V4),
        ("light", (2, 70, 64, 64, 4, True), jnp.float32, V5E),
        ("light", (1, 7, 20, 5, 3, False), jnp.bfloat16, V5E),
        ("dynamic", (2, 25, 40, 5, 31, False), jnp.float32, V4),
        ("dynamic", (1, 100, 64, 1, 2, True), jnp.bfloat16, V4),
        pytest.param("dynamic", (1, 25, 40, 5, 31, True), jnp.float32, V5E, marks=slow),
        pytest.param("light", (1, 1, 8, 1, 63, True), jnp.float32, V5E, marks=slow),
        pytest.param("light", (1, 130, 128, 2, 63, True), jnp.float32, V4, marks=slow),
        pytest.param("light", (1, 203, 48, 3, 63, False), jnp.float32, V5E, marks=slow),
        pytest.param("light", (1, 127, 130, 1, 8, True), jnp.float32, V5E, marks=slow),
        pytest.param("light", (1, 64, 264, 3, 12, True), jnp.float32, V4, marks=slow),
        pytest.param("light", (1, 200, 130, 1, 1, False), jnp.bfloat16, V4, marks=slow),
        pytest.param("light", (1, 64, 24, 24, 63, False), jnp.float32, V4, marks=slow),
        pytest.param("dynamic", (1, 1, 8, 1, 63, True), jnp.float32, V4, marks=slow),
        pytest.param("dynamic", (1, 7, 256, 8, 7, False), jnp.float32, V4, marks=slow),
        pytest.param("dynamic", (1, 130, 64, 2, 63, True), jnp.float32, V4, marks=slow),
        pytest.param(
            "dynamic", (1, 127, 130, 1, 8, True), jnp.bfloat16, V5E, marks=slow
        ),
        pytest.param(
            "dynamic", (2, 64, 48, 3, 63, False), jnp.bfloat16, V4, marks=slow
        ),
        pytest.param(
            "dynamic", (1, 200, 264, 3, 12, True), jnp.float32, V4, marks=slow
        ),
        pytest.param("dynamic", (1, 20, 128, 8, 1, False), jnp.float32, V4, marks=slow),
    ],
)
def test_equals_the_defining_sum(op, shape, dtype, chip, capsys):
    arrays = arguments(op, shape, dtype)
    got = interpreted(step(op, shape[-1]), *arrays, chip=chip)
    assert_right(got, arrays, shape[-1])
    assert "RACE" not in capsys.readouterr().out


@slow
@pytest.mark.parametrize(
    ("op", "shape"),
    [
        ("light", (2, 600, 128, 2, 31, False)),
        ("light", (1, 520, 32, 32, 6, True)),
        ("dynamic", (1, 520, 64, 1, 31, True)),
    ],
)
def test_long_sequences_are_cut_into_pieces(op, shape):
    arrays = arguments(op, shape)
    sizes = kernels.ConvolutionBlocks(rows=256)
    got = interpreted(step(op, shape[-1]), *arrays, sizes=sizes)
    assert_right(got, arrays, shape[-1])


@slow
def test_more_blocks_than_are_unrolled():
    shape = (1, 96 * 17 + 16, 128, 1, 31, True)
    x, weights, output_grad = arguments("light", shape)
    # A tap's gradient is a float32 sum of 200 thousand products: of size 1 in all.
    arrays = (x, weights, output_grad / 512)
    assert_right(interpreted(step("light", True), *arrays), arrays, True)


@slow
@pytest.mark.parametrize("op", OPS)
def test_dtypes_of_x_and_weights_are_independent(op):
    x, weights, output_grad = arguments(op, (1, 20, 128, 1, 9, True))
    low = (x.astype(jnp.bfloat16), weights, output_grad.astype(jnp.bfloat16))
    assert_right(interpreted(step(op, True), *low), low, True)


@pytest.mark.parametrize(
    ("op", "taps"), [("light", 5), pytest.param("light", 1, marks=slow)]
)
def test_vmap_equals_a_loop(op, taps):
    # Filters of the mapped axis: each has its own, and its own gradient.
    x = jnp.stack([arguments(op, (2, 9, 32, 1, taps, True), seed=i)[0] for i in (0, 1)])
    weights = arguments(op, (2, 9, 32, 2, taps, True), seed=2)[1][:, None]
    output_grad = arguments(op, (2, 9, 32, 1, taps, True), seed=3)[2]
    run = step(op, True)
    got = interpreted(jax.vmap(run, in_axes=(0, 0, None)), x, weights, output_grad)
    for i in range(2):
        one = (x[i], weights[i], output_grad)
        assert_right([g[i] for g in got], one, True)


@slow
def test_vmap_of_dynamic_filters_over_one_x():
    x, _, output_grad = arguments("dynamic", (1, 9, 32, 1, 5, True))
    weights = arguments("dynamic", (3, 9, 32, 1, 5, True))[1][:, None]
    run = jax.vmap(step("dynamic", True), in_axes=(None, 0, None))
    got = interpreted(run, x, weights, output_grad)
    for i in range(3):
        assert_right([g[i] for g in got], (x, weights[i], output_grad), True)


def test_operands_that_all_examples_share():
    x, weights, output_grad = arguments("light", (3, 12, 128, 1, 9, False))
    settings = {"causal": False, "groups": 1}
    got = interpreted(
        lambda *a: tpu.light_backward(*a, **settings), x[:1], weights[None], output_grad
    )
    same = jnp.broadcast_to(x[:1], x.shape)
    want = direct.gradients(same, weights, output_grad, False)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[1][0], want[1], rtol=1e-5, atol=3e-5)


def test_bands_or_taps():
    assert tpu.uses_bands(8, 512, 31)
    assert not tpu.uses_bands(512, 512, 31)
    assert not tpu.uses_bands(64, 512, 3)


def test_a_band_holds_every_tap_of_its_rows():
    for taps in range(1, 64):
        for causal in (True, False) if taps % 2 else (True,):
            for band in (found := blocks.band(taps, causal), found.mirrored):
                assert band.rows >= 48 and band.rows % 16 == 0
                assert band.offset >= 0
                assert band.offset + band.rows - 1 + taps - 1 < 128
    assert blocks.band(31, True).rows == 96


def chosen(op, *shapes, platform="tpu", **settings):
    kernel = {"light": light.FORWARD, "dynamic": dynamic.FORWARD}[op]
    operands = kernel.signature.named(
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes
    )
    return kernels.dispatch.choose(kernel, operands, settings, "auto", platform, V5E)


def test_what_is_left_to_xla_says_why():
    few = chosen("dynamic", (1, 9, 128), (1, 9, 8, 3), causal=True)
    assert few.implementation == "tpu"
    many = chosen("dynamic", (1, 9, 128), (1, 9, 16, 3), causal=True)
    assert many.implementation == "reference"
    assert "more than 8 heads in 128 lanes" in many.passed_over[0]
    wide = chosen("light", (1, 9, 128), (1, 128, 3), causal=True, groups=1)
    assert wide.implementation == "tpu"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"rows": 100}, "rows: got 100; accepted are multiples of 16"),
        ({"rows": 64}, "rows: got 64; .* at least 256"),
        ({"tiles": 3}, "tiles: got 3; accepted are divisors of the 4 tiles"),
        ({"rows": 1 << 16}, "rows 65536 and tiles .* MiB of VMEM; accepted"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    asked = kernels.ConvolutionBlocks(**sizes)
    with (
        kernels.block_sizes(asked),
        pytest.raises(ValueError, match=f"ConvolutionBlocks: {message}"),
    ):
        blocks.choose(chips.CHIPS["v5e"], 1 << 16, 8, 512, 31, 12)


def test_executed_products_of_bands():
    x = jax.ShapeDtypeStruct((8, 512, 512), jnp.bfloat16)
    weights = jax.ShapeDtypeStruct((1, 8, 31), jnp.bfloat16)
    flops = tpu.LIGHT_FORWARD.executed_flops(
        x=x, weights=weights, causal=True, groups=1
    )
    # 8 examples and heads, 512 outputs, 128 positions of the window, 128 lanes.
    assert flops == 2 * 8 * 8 * 512 * 128 * 128


def test_the_kernels_lower_for_tpus_without_one():
    x, weights, output_grad = arguments("light", (2, 40, 64, 2, 9, True))
    many = arguments("dynamic", (2, 40, 64, 2, 9, True))[1]
    for chip in (V4, V5E):
        for op, filters in (("light", weights), ("dynamic", many)):
            with kernels.target(chip):
                traced = jax.jit(step(op, True)).trace(x, filters, output_grad)
                text = traced.lower(lowering_platforms=("tpu",)).as_text()
            assert len(re.findall("tpu_custom_call", text)) == 2


def test_the_rooflines_are_those_worked_by_hand():
    # 8.4 MB in and out are 15k cycles of v5e's memory. Bands of 8 heads: 8 * 8 * 512
    # rows, 4 units. Taps: 2 * 7 operations of 2048 registers, 4 a cycle.
    v5e = chips.CHIPS["v5e"]
    x = jax.ShapeDtypeStruct((8, 512, 512), jnp.bfloat16)
    settings = {"causal": True, "groups": 1}

    def operands(*shape, **more):
        weights = jax.ShapeDtypeStruct(shape, jnp.bfloat16)
        return {"x": x, "weights": weights, **more}

    many = roofline.light_forward(v5e, operands(1, 8, 31), settings)
    assert many.binds == "hbm" and many.hbm == pytest.approx(15.4e3, rel=0.01)
    assert many.mxu == pytest.approx(8 * 8 * 512 / 4, rel=0.01)
    few = roofline.light_forward(v5e, operands(1, 8, 7), settings)
    assert few.vpu == 14 * 2048 / 4 and few.mxu == 0
    back = roofline.light_backward(v5e, operands(1, 8, 7, output_grad=x), settings)
    assert back.vpu == 2 * few.vpu and back.hbm > 1.49 * few.hbm
    settings, weights = {"causal": True}, (8, 512, 8, 31)
    dynamic = roofline.dynamic_forward(v5e, operands(*weights), settings)
    assert dynamic.mxu == many.mxu
    assert dynamic.hbm == pytest.approx(15.4e3 * (1 + 248 / 1024), rel=0.01)
    back = roofline.dynamic_backward(v5e, operands(*weights, output_grad=x), settings)
    assert back.mxu == 2 * dynamic.mxu
