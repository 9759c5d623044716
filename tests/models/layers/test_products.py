"""Products with a parameter: values and gradients against float64 NumPy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import cost
from clinometer.kernels.cpu import bfloat16
from clinometer.models.layers import products

# Leading axes of x, N and M: odd numbers, and as many rows as fill vectors.
SHAPES = [((), 4, 5), ((1,), 3, 1), ((2, 3), 7, 33), ((4, 16), 64, 128)]

# Of float32, and of numbers that are rounded to the 8 bits of bfloat16 once.
UNIT, HALF_UNIT = 2.0**-23, 2.0**-8


def pulled_back(function, x, parameter, y_grad):
    """Returns the product and the gradients of both operands."""
    y, pull = jax.vjp(function, x, parameter)
    return y, *pull(y_grad.astype(y.dtype))


def call(dtype, transpose_kernel):
    """Returns the product with these settings."""
    return lambda x, kernel: products.dense(x, kernel, dtype, transpose_kernel)


def operands(lead, n, m):
    """Returns x, kernel and the output's gradient, all representable in bfloat16."""
    rng = np.random.default_rng(0)
    shapes = ((*lead, n), (n, m), (*lead, m))
    return [
        np.asarray(jnp.asarray(rng.normal(size=shape), jnp.bfloat16), np.float64)
        for shape in shapes
    ]


def definition(x, kernel, y_grad):
    """Returns the results, and the sums of the absolute values of their terms."""

    def results(x, kernel, y_grad):
        # Of all leading axes together: one row per position.
        x_rows, y_rows = (array.reshape(-1, array.shape[-1]) for array in (x, y_grad))
        return x @ kernel, y_grad @ kernel.T, x_rows.T @ y_rows

    sums = results(*(np.abs(array) for array in (x, kernel, y_grad)))
    return results(x, kernel, y_grad), sums


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "logits"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(shape, dtype, transpose_kernel):
    x, kernel, y_grad = operands(*shape)
    want, sums = definition(x, kernel, y_grad)
    compute = jnp.float32 if dtype == "float32" else jnp.bfloat16
    result = jnp.float32 if dtype == "logits" else compute
    got = pulled_back(
        jax.jit(call(result, transpose_kernel)),
        jnp.asarray(x, compute),
        jnp.asarray(kernel.T if transpose_kernel else kernel, jnp.float32),
        jnp.asarray(y_grad, jnp.float32),
    )
    assert [array.dtype for array in got] == [result, compute, jnp.float32]
    got = [np.asarray(array, np.float64) for array in got]
    if transpose_kernel:
        got[2] = got[2].T
    rounded = (result == jnp.bfloat16, compute == jnp.bfloat16, False)
    for array, expected, terms, once in zip(got, want, sums, rounded, strict=True):
        assert array.shape == expected.shape
        # Products of two bfloat16 numbers are exact, the sums are of at most 128.
        error = 128 * UNIT * terms + (HALF_UNIT * np.abs(expected) if once else 0)
        assert (np.abs(array - expected) <= error).all()


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_a_processor_without_bfloat16_multiplies_in_float32(
    monkeypatch, transpose_kernel
):
    x, kernel, y_grad = operands((2, 3), 7, 33)
    arguments = (
        jnp.asarray(x, jnp.bfloat16),
        jnp.asarray(kernel.T if transpose_kernel else kernel, jnp.float32),
        jnp.asarray(y_grad, jnp.bfloat16),
    )

    def compiled(is_multiplied):
        monkeypatch.setattr(bfloat16, "is_multiplied", lambda: is_multiplied)

        def gradients(x, kernel, y_grad):
            return pulled_back(call(None, transpose_kernel), x, kernel, y_grad)

        return jax.jit(gradients).lower(*arguments)

    without = compiled(False)
    dots = re.findall(r"dot_general .*", without.as_text())
    assert len(dots) == 3
    assert not any("bf16" in dot for dot in dots)
    results = [x.compile()(*arguments) for x in (without, compiled(True))]
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype
        # Of the same numbers: another order of summation may round differently.
        np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=2 * HALF_UNIT)


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_only_cpus_have_float32_results(transpose_kernel):
    """On TPUs, a float32 result would double what devices add up between them."""
    x = jnp.ones((2, 3, 4), jnp.bfloat16)
    kernel = jnp.ones((5, 4) if transpose_kernel else (4, 5))

    def gradients(x, kernel):
        return pulled_back(call(None, transpose_kernel), x, kernel, jnp.ones((2, 3, 5)))

    def results(platform):
        lowered = (
            jax.jit(gradients).trace(x, kernel).lower(lowering_platforms=(platform,))
        )
        text = lowered.as_text()
        found = re.findall(r"dot_general .*-> tensor<(?:\d+x)*(\w+)>", text)
        return found, "LayoutConstraint" in text

    assert results("tpu") == (["bf16"] * 3, False)
    assert results("cpu") == (["f32"] * 3, True)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_the_gradient_of_inputs_is_not_computed_in_vain(dtype, transpose_kernel):
    x = jnp.ones((2, 3, 4), dtype)
    kernel = jnp.ones((5, 4) if transpose_kernel else (4, 5))

    def loss(kernel, x):
        return jnp.sum(call(None, transpose_kernel)(x, kernel).astype(jnp.float32))

    product = 2 * 6 * 4 * 5
    assert cost.count_flops(jax.grad(loss), kernel, x) == 2 * product
    assert cost.count_flops(jax.grad(loss, (0, 1)), kernel, x) == 3 * product
