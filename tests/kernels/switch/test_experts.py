"""Tests of `expert_matmul` and `expert_feed_forward`: values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import expert_feed_forward
from clinometer.kernels import expert_matmul
from clinometer.tests.kernels.switch import truth

# Groups, experts, capacity, input width, output width.
SHAPES = [
    (1, 2, 1, 1, 1),
    (2, 3, 7, 5, 9),
    (3, 8, 13, 64, 24),
    (1, 2, 65, 130, 40),  # a depth that no vector divides
    (1, 2, 20, 300, 270),  # several blocks of depth and columns, ragged ends
    (5, 2, 61, 16, 32),  # rows of several groups in one block of a gradient
]


@functools.partial(jax.jit, static_argnames="implementation")
def matmul(x, w, counts, *, implementation):
    return expert_matmul(x, w, counts, num_tokens=50, implementation=implementation)


def inputs(shape, dtype=jnp.float32):
    groups, num_experts, capacity, depth, columns = shape
    x = jnp.asarray(truth.normal(0, groups, num_experts, capacity, depth), dtype)
    w = jnp.asarray(truth.normal(1, num_experts, depth, columns), dtype)
    rng = np.random.default_rng(2)
    counts = rng.integers(0, capacity + 1, (groups, num_experts)).astype(np.int32)
    counts.flat[0], counts.flat[-1] = capacity, 0
    y_grad = jnp.asarray(truth.normal(3, groups, num_experts, capacity, columns), dtype)
    return x, w, counts, y_grad


def tolerance(dtype, depth):
    return (2e-6 if dtype == jnp.float32 else 2e-2) * np.sqrt(depth) * 2


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(shape, dtype, implementation):
    x, w, counts, y_grad = inputs(shape, dtype)
    y, pull = jax.vjp(
        lambda a, b: matmul(a, b, counts, implementation=implementation), x, w
    )
    x_grad, w_grad = pull(y_grad)
    held = truth.filled(x, counts)
    held_grad = truth.filled(y_grad, counts)
    wide = np.asarray(w, np.float64)
    for got, want, depth in (
        (y, np.einsum("gecd,edf->gecf", held, wide), shape[3]),
        (x_grad, np.einsum("gecf,edf->gecd", held_grad, wide), shape[4]),
        (w_grad, np.einsum("gecd,gecf->edf", held, held_grad), shape[0] * shape[2]),
    ):
        assert got.dtype == dtype
        scale = tolerance(dtype, depth)
        np.testing.assert_allclose(
            np.asarray(got, np.float64), want, rtol=scale, atol=scale
        )
    for rows in (y, x_grad):
        empty = np.arange(shape[2]) >= counts[..., None]
        assert not np.any(np.asarray(rows)[empty])


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_empty_experts(implementation):
    x, w, counts, y_grad = inputs(SHAPES[2])
    nothing = np.zeros_like(counts)
    y, pull = jax.vjp(
        lambda a, b: matmul(a, b, nothing, implementation=implementation), x, w
    )
    assert not any(np.any(np.asarray(a)) for a in (y, *pull(y_grad)))


def test_cpu_reads_no_empty_slot():
    x, w, counts, y_grad = inputs(SHAPES[2])
    empty = np.arange(x.shape[2]) >= counts[..., None]
    y, pull = jax.vjp(lambda a, b: matmul(a, b, counts, implementation="cpu"), x, w)
    garbage = jnp.where(empty[..., None], jnp.nan, x)
    y_again, pull_again = jax.vjp(
        lambda a, b: matmul(a, b, counts, implementation="cpu"), garbage, w
    )
    grad = jnp.where(empty[..., None], jnp.nan, y_grad)
    for a, b in zip((y, *pull(y_grad)), (y_again, *pull_again(grad)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_nan_of_one_row_stays_there(implementation):
    x, w, counts, _ = inputs(SHAPES[2])
    counts[:] = 9
    y = matmul(x.at[1, 2, 3, 4].set(jnp.nan), w, counts, implementation=implementation)
    rows = np.argwhere(np.isnan(np.asarray(y)).any(-1))
    assert rows.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_one_expert_is_the_dense_layer_bit_for_bit(dtype, implementation):
    tokens = jnp.asarray(truth.normal(0, 2, 65, 24), dtype)
    wi = jnp.asarray(truth.normal(1, 24, 50), dtype)
    wo = jnp.asarray(truth.normal(2, 50, 24), dtype)
    counts = jnp.full((2, 1), 65, jnp.int32)

    @jax.jit
    def dense(x, wi, wo):
        y = jnp.dot(jax.nn.relu(jnp.dot(x, wi)), wo)
        return jnp.sum(y.astype(jnp.float32) ** 2), y

    @jax.jit
    def experts(x, wi, wo):
        y = expert_feed_forward(
            x[:, None],
            wi[None],
            wo[None],
            counts,
            num_tokens=65,
            implementation=implementation,
        )[:, 0]
        return jnp.sum(y.astype(jnp.float32) ** 2), y

    results = [
        jax.jit(jax.value_and_grad(f, (0, 1, 2), has_aux=True))(tokens, wi, wo)
        for f in (dense, experts)
    ]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_array_equal(a, b)
    half = expert_matmul(
        tokens[:, None], wi[None], counts // 2, num_tokens=65, implementation="auto"
    )
    assert not np.any(np.asarray(half[:, 0, 32:]))


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_feed_forward_with_another_activation_and_dropout(implementation):
    x, wi, counts, _ = inputs((2, 3, 7, 5, 9))
    wo = truth.f32(truth.normal(4, 3, 9, 5))
    key = jax.random.key(0)
    kept = np.asarray(jax.random.bernoulli(key, 0.5, (2, 3, 7, 9)))
    y = jax.jit(
        lambda *operands: expert_feed_forward(
            *operands,
            num_tokens=20,
            activation=jnp.tanh,
            dropout_rate=0.5,
            dropout_key=key,
            implementation=implementation,
        )
    )(x, wi, wo, counts)
    hidden = np.tanh(np.einsum("gecd,edf->gecf", truth.filled(x, counts), wi))
    want = np.einsum("gecf,efd->gecd", np.where(kept, 2 * hidden, 0), wo)
    np.testing.assert_allclose(y, truth.filled(want, counts), rtol=1e-4, atol=1e-5)
