"""Tests the FLOPs count against products of dimensions computed by hand."""

import jax
from jax import lax
import jax.numpy as jnp
import pytest

from clinometer.kernels.cost import UncountableError
from clinometer.kernels.cost import count_flops

X = jax.ShapeDtypeStruct((4, 8), jnp.float32)
W = jax.ShapeDtypeStruct((8, 8), jnp.float32)
PRODUCT = 2 * 4 * 8 * 8


def test_matmul_and_batched_einsum():
    assert count_flops(lambda x, w: x @ w, X, W) == PRODUCT
    a = jax.ShapeDtypeStruct((3, 5, 7, 2), jnp.float32)
    b = jax.ShapeDtypeStruct((3, 6, 7, 2), jnp.float32)
    got = count_flops(lambda a, b: jnp.einsum("bthk,bshk->bhts", a, b), a, b)
    assert got == 2 * 3 * 7 * 5 * 6 * 2


def test_elementwise_work_is_free():
    assert count_flops(lambda x: jnp.tanh(x) + x.sum(), X) == 0


def test_scan_counts_its_body_as_often_as_it_runs():
    def scanned(x, w):
        return lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, None, length=5)[0]

    def looped(x, w):
        for _ in range(5):
            x = jnp.tanh(x @ w)
        return x

    assert count_flops(scanned, X, W) == 5 * PRODUCT
    assert count_flops(looped, X, W) == 5 * PRODUCT
    gradient = jax.grad(lambda x, w: scanned(x, w).sum(), argnums=(0, 1))
    assert count_flops(gradient, X, W) == 3 * 5 * PRODUCT


def test_rematerialisation_adds_what_it_recomputes():
    def block(x, w):
        return jnp.tanh(jnp.tanh(x @ w) @ w)

    def loss(f):
        return jax.grad(lambda x, w: f(x, w).sum(), argnums=(0, 1))

    plain = count_flops(loss(block), X, W)
    remat = count_flops(loss(jax.checkpoint(block)), X, W)
    # tanh needs its output, so both products are done again.
    assert (plain, remat) == (3 * 2 * PRODUCT, 4 * 2 * PRODUCT)


def test_cond_takes_the_dearest_branch():
    def f(x, w):
        return lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x)

    assert count_flops(f, X, W) == 2 * PRODUCT


def test_convolutions():
    x = jax.ShapeDtypeStruct((2, 16, 12), jnp.float32)

    def conv(groups):
        kernel = jax.ShapeDtypeStruct((3, 12 // groups, 12), jnp.float32)
        return count_flops(
            lambda x, k: lax.conv_general_dilated(
                x,
                k,
                (1,),
                "SAME",
                dimension_numbers=("NWC", "WIO", "NWC"),
                feature_group_count=groups,
            ),
            x,
            kernel,
        )

    assert conv(groups=1) == 2 * (2 * 16 * 12) * 3 * 12
    assert conv(groups=12) == 2 * (2 * 16 * 12) * 3


def test_inside_jit_and_custom_gradients():
    @jax.custom_vjp
    def f(x, w):
        return x @ w

    f.defvjp(lambda x, w: (x @ w, None), lambda _, g: (g, None))
    assert count_flops(jax.jit(f), X, W) == PRODUCT


def test_unknown_trip_count_is_refused_not_guessed():
    def f(x, w):
        return lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ w, x)

    with pytest.raises(UncountableError, match="trip count"):
        count_flops(f, X, W)


def test_opaque_operations_are_refused():
    def f(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda y: y, shape, x)

    with pytest.raises(UncountableError, match="pure_callback"):
        count_flops(f, X)
