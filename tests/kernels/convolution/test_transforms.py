"""Tests light_conv and dynamic_conv under vmap, remat, scan; second derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import dynamic_conv
from clinometer.kernels import light_conv

N, B, S, D, H, K = 3, 2, 7, 16, 2, 3
# The rule of `vmap` is the primitive's, not the implementation's: one is enough.
IMPLEMENTATIONS = (pytest.param("reference", marks=pytest.mark.slow), "cpu")
OPS = {"light": light_conv, "dynamic": dynamic_conv}


def array(shape, axis=None, seed=0):
    """Returns normal numbers, with N of them along a new `axis` if given."""
    if axis is not None:
        shape = (*shape[:axis], N, *shape[axis:])
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def step(op, implementation):
    """Returns a function to output and gradients."""

    def run(x, weights, output_grad):
        convolve = functools.partial(
            OPS[op], causal=True, implementation=implementation
        )
        output, vjp = jax.vjp(convolve, x, weights)
        return output, *vjp(output_grad)

    return run


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("batch", "axes"),
    [
        (B, (0, None, 0)),
        (B, (2, 1, 1)),
        (B, (None, 0, None)),
        (1, (None, 0, 0)),
        (1, (None, None, 0)),
    ],
)
def test_vmap_equals_a_loop(op, batch, axes, implementation):
    lead = () if op == "light" else (batch, S)
    shapes = ((batch, S, D), (*lead, H, K), (batch, S, D))
    arrays = [
        array(shape, axis, seed)
        for seed, (shape, axis) in enumerate(zip(shapes, axes, strict=True))
    ]
    run = step(op, implementation)
    got = jax.jit(jax.vmap(run, in_axes=axes))(*arrays)
    one = jax.jit(run)
    for i in range(N):
        want = one(
            *(
                a if axis is None else jnp.take(a, i, axis=axis)
                for a, axis in zip(arrays, axes, strict=True)
            )
        )
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g[i], w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("op", OPS)
def test_gradient_of_what_a_vmap_shares(op, implementation):
    lead = () if op == "light" else (B, S)
    x, weights = array((B, S, D), 0), array((*lead, H, K), seed=1)

    def loss(weights, over):
        return jnp.sum(
            jnp.sin(
                over(
                    lambda x: OPS[op](
                        x, weights, causal=True, implementation=implementation
                    )
                )(x)
            )
        )

    def loop(f):
        return lambda xs: jnp.stack([f(x) for x in xs])

    got = jax.jit(jax.grad(functools.partial(loss, over=jax.vmap)))(weights)
    want = jax.jit(jax.grad(functools.partial(loss, over=loop)))(weights)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("op", OPS)
def test_two_nested_vmaps(op, implementation):
    lead = () if op == "light" else (B, S)
    x, output_grad = array((2, B, S, D), 0), array((2, B, S, D), 0, seed=2)
    weights = array((*lead, H, K), 0, seed=1)
    run = step(op, implementation)
    inner = jax.vmap(run, in_axes=(0, None, 0))
    got = jax.jit(jax.vmap(inner))(x, weights, output_grad)
    want = jax.jit(run)(x[2, 1], weights[2], output_grad[2, 1])
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g[2, 1], w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("op", OPS)
def test_remat_and_scan_over_layers(op, implementation):
    lead = () if op == "light" else (B, S)
    x, stack = array((B, S, D)), array((*lead, H, K), 0, seed=1)

    def layer(x, weights):
        return x + OPS[op](x, weights, causal=True, implementation=implementation)

    def scanned(x, stack):
        body = jax.checkpoint(lambda x, w: (layer(x, w), None))
        return jnp.sum(jnp.sin(jax.lax.scan(body, x, stack)[0]))

    def unrolled(x, stack):
        for weights in stack:
            x = layer(x, weights)
        return jnp.sum(jnp.sin(x))

    got = jax.jit(jax.grad(scanned, (0, 1)))(x, stack)
    want = jax.jit(jax.grad(unrolled, (0, 1)))(x, stack)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("op", OPS)
def test_second_derivatives_are_refused(op):
    weights = array((H, K) if op == "light" else (B, S, H, K))

    def slope(x):
        return jax.grad(lambda x: jnp.sum(OPS[op](x, weights, causal=True) ** 2))(x)

    with pytest.raises(NotImplementedError, match=f"{op}_conv: only first derivatives"):
        jax.jacrev(slope)(array((B, S, D)))
    with pytest.raises(NotImplementedError, match=f"{op}_conv|forward-mode"):
        jax.jvp(slope, (array((B, S, D)),), (array((B, S, D)),))
