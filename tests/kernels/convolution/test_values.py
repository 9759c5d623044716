"""Tests values and gradients of the convolutions against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import dynamic_conv
from clinometer.kernels import light_conv
from clinometer.tests.kernels.convolution import direct

OPS = {"light": light_conv, "dynamic": dynamic_conv}
# Batch, length, channels, heads, taps, causal: lengths on both sides of the kernels'
# blocks and of K, heads of every width, a width that no vector divides.
SHAPES = [
    (2, 7, 32, 8, 3, True),
    (1, 1, 8, 1, 63, True),
    (2, 65, 48, 3, 31, False),
    (1, 130, 64, 2, 31, True),
    (3, 5, 12, 12, 4, True),
    (1, 130, 128, 1, 7, False),
    (2, 66, 20, 2, 5, True),
    (1, 100, 130, 1, 1, False),
    (1, 203, 64, 64, 8, True),
    (1, 40, 264, 3, 12, True),
    (1, 101, 16, 2, 63, False),
    (1, 12, 16, 1, 2, True),
]


def arguments(op, shape, dtype=jnp.float32, seed=0):
    batch, length, channels, heads, taps, _ = shape
    rng = np.random.default_rng(seed)
    lead = () if op == "light" else (batch, length)
    x = rng.normal(size=(batch, length, channels))
    weights = rng.dirichlet(np.ones(taps), size=(*lead, heads))
    output_grad = rng.normal(size=x.shape)
    return tuple(jnp.asarray(a, dtype) for a in (x, weights, output_grad))


def both(op, causal, implementation, mask=None):
    """Returns a jitted function to the output and the gradients."""

    @jax.jit
    def run(x, weights, output_grad):
        output, vjp = jax.vjp(
            lambda x, w: OPS[op](
                x, w, causal=causal, mask=mask, implementation=implementation
            ),
            x,
            weights,
        )
        return output, *vjp(output_grad)

    return run


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("implementation", "shape"),
    [("cpu", shape) for shape in SHAPES]
    + [("reference", shape) for shape in SHAPES[:6]],  # slow to compile
)
def test_equals_the_defining_sum(op, implementation, shape):
    x, weights, output_grad = arguments(op, shape)
    causal = shape[-1]
    got = both(op, causal, implementation)(x, weights, output_grad)
    want = (
        direct.convolve(x, weights, causal),
        *direct.gradients(x, weights, output_grad, causal),
    )
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == jnp.float32
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
def test_bfloat16_sums_in_float32(op, implementation):
    x, weights, output_grad = arguments(op, (2, 65, 64, 2, 15, True), jnp.bfloat16)
    got = both(op, True, implementation)(x, weights, output_grad)
    want = (
        direct.convolve(x, weights, True),
        *direct.gradients(x, weights, output_grad, True),
    )
    for g, w in zip(got, want, strict=True):
        assert g.dtype == jnp.bfloat16
        # One rounding to 8 bits, of the result.
        np.testing.assert_allclose(np.asarray(g, np.float64), w, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
def test_dtypes_of_x_and_weights_are_independent(op, implementation):
    x, weights, output_grad = arguments(op, (1, 9, 16, 2, 3, True))
    x, output_grad = x.astype(jnp.bfloat16), output_grad.astype(jnp.bfloat16)
    output, x_grad, weights_grad = both(op, True, implementation)(
        x, weights, output_grad
    )
    assert output.dtype == x_grad.dtype == jnp.bfloat16
    assert weights_grad.dtype == jnp.float32
    want = direct.gradients(x, weights, output_grad, True)[1]
    np.testing.assert_allclose(weights_grad, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
def test_finite_differences(op, implementation):
    # A step of the weights and one of x, of known directions.
    shape = (1, 10, 16, 2, 5, False)
    x, weights, output_grad = arguments(op, shape)
    dx, dw, _ = arguments(op, shape, seed=1)
    step = 2.0**-6  # The output is linear in each: nothing of higher order is left.
    run = both(op, False, implementation)
    output, x_grad, weights_grad = run(x, weights, output_grad)
    by_x = (run(x + step * dx, weights, output_grad)[0] - output) / step
    by_weights = (run(x, weights + step * dw, output_grad)[0] - output) / step
    for slope, product in ((by_x, dx * x_grad), (by_weights, dw * weights_grad)):
        np.testing.assert_allclose(
            (slope * output_grad).sum(), product.sum(), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
def test_masked_positions_are_zero_and_get_no_gradient(op, implementation):
    shape = (2, 20, 16, 2, 7, False)
    x, weights, output_grad = arguments(op, shape)
    mask = jnp.arange(20)[None] < jnp.asarray([[20], [13]])
    x = jnp.where(mask[..., None], x, jnp.nan)  # what padding holds does not matter
    zeroed = jnp.where(mask[..., None], x, 0.0)
    got = both(op, False, implementation, mask)(x, weights, output_grad)
    x_grad, weights_grad = direct.gradients(zeroed, weights, output_grad, False)
    np.testing.assert_allclose(
        got[0], direct.convolve(zeroed, weights, False), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(np.asarray(got[1])[1, 13:], 0.0)
    np.testing.assert_allclose(
        got[1], np.where(mask[..., None], x_grad, 0.0), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(got[2], weights_grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("taps", "causal"), [(31, True), (5, True), (7, False)])
def test_receptive_field_is_exactly_the_taps(op, taps, causal, implementation):
    length, at = 80, 40
    x, weights, _ = arguments(op, (1, length, 16, 2, taps, causal))
    output_grad = jnp.zeros_like(x).at[:, at].set(1.0)
    _, x_grad, weights_grad = both(op, causal, implementation)(x, weights, output_grad)
    reached = np.any(np.asarray(x_grad) != 0.0, axis=(0, 2))
    left = taps - 1 if causal else (taps - 1) // 2
    want = [at - left <= s <= at - left + taps - 1 for s in range(length)]
    np.testing.assert_array_equal(reached, want)
    if op == "dynamic":
        rows = np.any(np.asarray(weights_grad) != 0.0, axis=(0, 2, 3))
        np.testing.assert_array_equal(np.flatnonzero(rows), [at])


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("taps", [3, 31])
def test_nan_reaches_what_takes_it_and_nothing_else(op, taps, implementation):
    x, weights, output_grad = arguments(op, (1, 90, 16, 2, taps, True))
    output, *_ = both(op, True, implementation)(
        x.at[0, 50, 3].set(jnp.nan), weights, output_grad
    )
    want = np.zeros(x.shape, bool)
    want[0, 50 : 50 + taps, 3] = True
    np.testing.assert_array_equal(np.isnan(output), want)
