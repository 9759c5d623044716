"""Attention against float64 NumPy, its masks and its initialisers."""

import haiku as hk
import jax
import numpy as np

from clinometer.models.layers import attention


def test_initialiser_of_the_bias():
    init = hk.transform(lambda: attention.RelativeBias(200, name="bias")()).init
    table = np.asarray(init(jax.random.key(0))["bias"]["table"])
    limit = (6 / (200 + 32)) ** 0.5
    assert table.shape == (200, 32)
    assert 0.99 * limit < table.max() <= limit
    assert abs(table.std() / (limit / 3**0.5) - 1) < 0.03


def test_equals_the_definition():
    """Compares with projections, relative bias and softmax in float64 NumPy."""
    d_model, num_heads, d_kv, length = 6, 2, 3, 5
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, length, d_model)).astype(np.float32)

    def forward(x):
        table = attention.RelativeBias(num_heads, name="bias")()
        module = attention.RelativeAttention(num_heads, d_kv, causal=True, name="a")
        return module(x, bias_table=table)

    function = hk.without_apply_rng(hk.transform(forward))
    params = function.init(jax.random.key(0), x)
    got = function.apply(params, x)
    weights = {k: np.asarray(w, np.float64) for k, w in params["a"].items()}
    table = np.asarray(params["bias"]["table"], np.float64)
    q, k, v = (
        (x[0] @ weights[name]).reshape(length, num_heads, d_kv)
        for name in ("query", "key", "value")
    )
    want = np.zeros((length, num_heads, d_kv))
    for h, t in np.ndindex(num_heads, length):
        # Distances below 16 have their own bucket.
        logits = [q[t, h] @ k[s, h] + table[h, t - s] for s in range(t + 1)]
        probability = np.exp(logits) / np.exp(logits).sum()
        want[t, h] = probability @ v[: t + 1, h]
    want = want.reshape(length, -1) @ weights["output"]
    np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-5)


def test_an_offset_query_and_a_cache_equal_the_row_of_the_whole():
    def forward(x, offset):
        table = attention.RelativeBias(2, name="bias")()
        module = attention.RelativeAttention(
            2, 4, num_kv_heads=1, causal=True, name="a"
        )
        whole = module(x, bias_table=table)
        row = jax.lax.dynamic_slice_in_dim(x, offset, 1, axis=1)
        return whole, module(row, module.key_value(x), table, query_offset=offset)

    function = hk.without_apply_rng(hk.transform(forward))
    x = jax.random.normal(jax.random.key(1), (2, 40, 8))
    params = function.init(jax.random.key(0), x, 0)
    apply = jax.jit(function.apply)
    for offset in (0, 17, 39):
        whole, row = apply(params, x, offset)
        np.testing.assert_allclose(row[:, 0], whole[:, offset], rtol=1e-5, atol=1e-6)
