"""Tests gradients of relative attention: finite differences and causality."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import relative_attention
from clinometer.tests.kernels.relative_attention import numpy_attention

IMPLEMENTATIONS = ("reference", "cpu")


def draw(batch, queries, keys, heads, width, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(batch, n, heads, width) for n in (queries, keys, keys)]
    arrays = [rng.normal(size=shape) for shape in (*shapes, (heads, 32))]
    arrays[0] *= width**-0.5
    return arrays, rng.normal(size=shapes[0])


def finite_difference(arrays, weight, place, direction, **settings):
    """Derivative of sum(weight * output) along `direction`, in float64 NumPy."""
    step = 1e-5

    def value(sign):
        moved = list(arrays)
        moved[place] = moved[place] + sign * step * direction
        return np.sum(weight * numpy_attention.attention(*moved, **settings))

    return (value(1) - value(-1)) / (2 * step)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_finite_differences(implementation, causal):
    queries, keys = (53, 53) if causal else (20, 205)
    arrays, weight = draw(2, queries, keys, 3, 5)
    rng = np.random.default_rng(1)
    key_mask = rng.random((2, keys)) < 0.7
    key_mask[1, :9] = False  # Queries that may see nothing, where causal.
    settings = {"causal": causal, "key_mask": jnp.asarray(key_mask)}

    def loss(*arrays):
        output = relative_attention(*arrays, **settings, implementation=implementation)
        return jnp.sum(jnp.asarray(weight, jnp.float32) * output)

    inputs = [jnp.asarray(x, jnp.float32) for x in arrays]
    gradients = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*inputs)
    for place, gradient in enumerate(gradients):
        for _ in range(2):
            direction = rng.normal(size=arrays[place].shape)
            want = finite_difference(arrays, weight, place, direction, **settings)
            got = np.sum(np.asarray(gradient, np.float64) * direction)
            scale = np.linalg.norm(gradient) * 1e-4
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=scale)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_gradient_from_the_past_to_the_future(implementation):
    arrays, _ = draw(1, 100, 100, 2, 8)
    q, k, v, table = (jnp.asarray(x, jnp.float32) for x in arrays)

    def loss(q, k, v):
        output = relative_attention(
            q, k, v, table, causal=True, implementation=implementation
        )
        return jnp.sum(output[:, 37] ** 2)

    dq, dk, dv = jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)
    assert (np.delete(np.asarray(dq), 37, axis=1) == 0).all()
    for gradient in (dk, dv):
        assert (np.asarray(gradient)[:, 38:] == 0).all()
        assert (np.asarray(gradient)[:, :38] != 0).any(axis=(0, 2, 3)).all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_bfloat16_gradients_have_the_operands_dtypes(implementation):
    arrays, weight = draw(1, 20, 20, 2, 8)
    low = [jnp.asarray(x, jnp.bfloat16) for x in arrays[:3]]
    table = jnp.asarray(arrays[3], jnp.float32)

    def loss(q, k, v, table):
        output = relative_attention(q, k, v, table, implementation=implementation)
        return jnp.sum(output.astype(jnp.float32) * weight)

    gradients = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*low, table)
    assert [g.dtype.name for g in gradients] == ["bfloat16"] * 3 + ["float32"]
    exact = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(
        *(x.astype(jnp.float32) for x in low), table
    )
    for got, want in zip(gradients, exact, strict=True):
        scale = float(jnp.abs(want).max())
        np.testing.assert_allclose(
            got.astype(np.float32), want, rtol=0.03, atol=0.03 * scale
        )


def test_the_mask_of_dropout_is_that_of_the_values():
    """Shared dropout scales values: value gradients vanish where keys are dropped."""
    arrays, weight = draw(1, 12, 12, 1, 4)
    q, k, v, table = (jnp.asarray(x, jnp.float32) for x in arrays)
    key = jax.random.key(3)
    kept = np.asarray(jax.random.bernoulli(key, 0.5, (1, 1, 12)))[0, 0]
    for implementation in IMPLEMENTATIONS:
        function = functools.partial(
            relative_attention,
            dropout_rate=0.5,
            dropout_key=key,
            implementation=implementation,
        )
        gradient = jax.grad(lambda v, f=function: jnp.sum(weight * f(q, k, v, table)))
        alive = (np.asarray(gradient(v))[0] != 0).any(axis=(1, 2))
        np.testing.assert_array_equal(alive, kept)


def test_own_dropout_of_each_query_has_right_gradients():
    arrays, weight = draw(1, 6, 7, 2, 3)
    arrays = [jnp.asarray(x, jnp.float32) for x in arrays]
    function = functools.partial(
        relative_attention,
        dropout_rate=0.3,
        dropout_key=jax.random.key(0),
        broadcast_dropout=False,
        implementation="reference",
    )

    def loss(*arrays):
        return jnp.sum(jnp.asarray(weight, jnp.float32) * function(*arrays))

    gradients = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*arrays)
    rng = np.random.default_rng(2)
    loss = jax.jit(loss)
    for place, gradient in enumerate(gradients):
        direction = jnp.asarray(rng.normal(size=gradient.shape), jnp.float32)
        ends = []
        for step in (1e-2, -1e-2):
            moved = list(arrays)
            moved[place] = moved[place] + step * direction
            ends.append(float(loss(*moved)))
        want = (ends[0] - ends[1]) / 2e-2
        got = float(jnp.sum(gradient * direction))
        assert got == pytest.approx(want, rel=2e-2, abs=2e-3)
