"""Performer attention against float64 NumPy, step by step, and its masks."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models.layers import performer_attention

BATCH, LENGTH, D_MODEL, HEADS, WIDTH = 2, 9, 6, 4, 3


def transform(causal, num_kv_heads=None, method="__call__"):
    def forward(*args):
        module = performer_attention.PerformerAttention(
            HEADS, WIDTH, num_kv_heads, causal=causal, name="a"
        )
        return getattr(module, method)(*args)

    return hk.without_apply_rng(hk.transform(forward))


@pytest.fixture
def x():
    shape = (BATCH, LENGTH, D_MODEL)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def make_params(x, num_kv_heads=None):
    """Returns random parameters of a module."""
    init = transform(False, num_kv_heads).init
    params = jax.eval_shape(init, jax.random.key(0), x)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: np.float32(0.4 * rng.normal(size=p.shape)), params)


def definition(params, x, causal, mask):
    """Computes the sum over keys of phi(q) . phi(k) v, over the sum of weights."""
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params["a"].items()}
    q, k, v = (
        (x @ w[name]).reshape(BATCH, LENGTH, -1, WIDTH)
        for name in ("query", "key", "value")
    )
    output = np.zeros(q.shape)
    for b, t, h in np.ndindex(BATCH, LENGTH, HEADS):
        g = h * k.shape[2] // HEADS
        seen = mask[b] & (np.arange(LENGTH) <= t) if causal else mask[b]
        phi_q = np.maximum(q[b, t, h], 0) + 1e-3
        weights = (np.maximum(k[b, seen, g], 0) + 1e-3) @ phi_q
        output[b, t, h] = weights @ v[b, seen, g] / weights.sum()
    return output.reshape(BATCH, LENGTH, -1) @ w["output"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_kv_heads", [None, 1])
def test_equals_the_definition(x, causal, num_kv_heads):
    mask = np.arange(LENGTH) < np.array([[LENGTH], [5]])
    function = transform(causal, num_kv_heads)
    params = make_params(x, num_kv_heads)
    got = jax.jit(function.apply)(params, x, None, mask)
    want = definition(params, x, causal, mask)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_keys_and_values_of_a_memory(x):
    params = make_params(x)
    memory = transform(False, method="key_value").apply(params, x)
    apply = jax.jit(transform(False).apply)
    got = apply(params, x[:, :2], memory)
    np.testing.assert_allclose(got, apply(params, x)[:, :2], rtol=1e-5, atol=1e-6)


def test_no_position_depends_on_a_later_one(x):
    params = make_params(x)
    jacobian = jax.jit(jax.jacrev(lambda row: transform(True).apply(params, row[None])))
    slopes = np.abs(np.asarray(jacobian(x[0]))[0]).max(axis=(1, 3))  # [T, T]
    assert (np.triu(slopes, 1) == 0).all()
    assert (slopes[np.tril_indices(LENGTH)] > 0).all()


def test_padding_has_no_influence(x):
    mask = np.arange(LENGTH) < np.array([[LENGTH], [5]])
    function = transform(False)
    params = make_params(x)
    apply = jax.jit(function.apply)
    changed = np.where(mask[..., None], x, 100.0)
    got, want = (apply(params, y, None, mask) for y in (changed, x))
    np.testing.assert_array_equal(got[mask], want[mask])


@pytest.mark.parametrize("num_kv_heads", [None, 1])
def test_step_by_step_equals_the_whole(x, num_kv_heads):
    function = transform(True, num_kv_heads)
    params = make_params(x, num_kv_heads)
    step = transform(True, num_kv_heads, "step").apply
    state = transform(True, num_kv_heads, "init_state").apply(params, BATCH)

    def body(state, row):
        y, state = step(params, row[:, None], state)
        return state, y[:, 0]

    _, got = jax.jit(lambda rows: jax.lax.scan(body, state, rows))(x.swapaxes(0, 1))
    want = jax.jit(function.apply)(params, x)
    np.testing.assert_allclose(got.swapaxes(0, 1), want, rtol=1e-5, atol=1e-6)


def test_computes_in_the_dtype_of_x(x):
    function = transform(True)
    params = make_params(x)
    got = jax.jit(function.apply)(params, jnp.asarray(x, jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    want = definition(params, x, True, np.ones((BATCH, LENGTH), bool))
    np.testing.assert_allclose(got.astype(jnp.float32), want, rtol=0.1, atol=0.05)


def test_a_step_without_causality_is_an_error(x):
    state = transform(True, method="init_state").apply({}, BATCH)
    with pytest.raises(ValueError, match="step: needs causal=True"):
        transform(False, method="step").init(None, x[:, :1], state)
