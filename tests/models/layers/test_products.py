"""Products with a parameter: values and gradients against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models.layers import products


def pulled_back(function, x, parameter, y_grad):
    """Returns the product and the gradients of both operands."""
    y, pull = jax.vjp(function, x, parameter)
    return y, *pull(y_grad)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("product", ["dense", "tied_logits"])
def test_gradients_equal_their_definition(lead, product):
    rng = np.random.default_rng(0)
    x, y_grad = rng.normal(size=(*lead, 4)), rng.normal(size=(*lead, 5))
    kernel = rng.normal(size=(4, 5))
    # Of all leading axes together: one row per position.
    kernel_grad = x.reshape(-1, 4).T @ y_grad.reshape(-1, 5)
    want = [x @ kernel, y_grad @ kernel.T, kernel_grad]
    if product == "tied_logits":
        kernel, want[2] = kernel.T, kernel_grad.T
    got = pulled_back(
        jax.jit(getattr(products, product)),
        *(jnp.asarray(array, jnp.float32) for array in (x, kernel, y_grad)),
    )
    for array, expected in zip(got, want, strict=True):
        assert array.shape == expected.shape
        # Sums of at most 6 products: a few units of 2^-24.
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("product", "plain", "shape", "dtype"),
    [
        ("dense", lambda x, w: x @ w, (8, 5), jnp.bfloat16),
        (
            "tied_logits",
            lambda h, w: jnp.einsum(
                "btd,vd->btv", h, w, preferred_element_type=jnp.float32
            ),
            (5, 8),
            jnp.float32,
        ),
    ],
)
def test_bfloat16_is_rounded_as_by_jax(product, plain, shape, dtype):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2, 3, 8)), jnp.bfloat16)
    parameter = jnp.asarray(rng.normal(size=shape), jnp.bfloat16)
    y_grad = jnp.asarray(rng.normal(size=(2, 3, 5)), dtype)
    got = pulled_back(getattr(products, product), x, parameter, y_grad)
    want = pulled_back(plain, x, parameter, y_grad)
    for array, expected in zip(got, want, strict=True):
        assert array.dtype == expected.dtype
        # Another order of summation may round the last of 8 bits differently.
        np.testing.assert_allclose(
            array.astype(jnp.float32), expected.astype(jnp.float32), rtol=2**-7
        )
