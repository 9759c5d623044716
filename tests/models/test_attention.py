"""Attention against float64 NumPy, its masks and its initialisers."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models import attention


def reference(q, k, v, bias, mask):
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        group = h * k.shape[2] // q.shape[2]
        logits = q[b, :, h] @ k[b, :, group].T + bias[h]
        logits = np.where(mask[b, 0], logits, -1e9)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out[b, :, h] = weights / weights.sum(-1, keepdims=True) @ v[b, :, group]
    return out


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_equals_the_definition(kv_heads):
    rng = np.random.default_rng(0)
    q = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    k, v = rng.normal(size=(2, 2, 7, kv_heads, 3)).astype(np.float32)
    bias = rng.normal(size=(4, 5, 7)).astype(np.float32)
    mask = rng.random(size=(2, 1, 5, 7)) < 0.6
    mask[0, 0, 2] = False  # A query that may see nothing averages all values.
    args = [jnp.asarray(x) for x in (q, k, v, bias, mask)]
    got = attention.dot_product_attention(*args)
    want = reference(q, k, v, bias, mask)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    average = np.repeat(v[0].mean(0), 4 // kv_heads, axis=0)
    np.testing.assert_allclose(got[0, 2], average, rtol=1e-5, atol=1e-6)
    assert not np.allclose(got, reference(q, k, v, 0 * bias, mask), atol=1e-2)


def test_dropout_is_shared_by_all_queries_when_broadcast():
    ones = jnp.ones((1, 6, 2, 64))
    mask = jnp.ones((1, 1, 6, 6), bool)
    value = jnp.broadcast_to(jnp.eye(6, 64)[None, :, None, :], ones.shape)

    def weights(broadcast):
        return attention.dot_product_attention(
            ones, ones, value, None, mask, 0.5, broadcast, jax.random.key(0)
        )[..., :6]

    shared = np.asarray(weights(True))
    assert (shared == shared[:, :1]).all()
    assert 0 < (shared == 0).mean() < 1
    own = np.asarray(weights(False))
    assert not (own == own[:, :1]).all()


def test_masks():
    segments = jnp.array([[1, 1, 2, 0]])
    got = attention.segment_mask(segments, segments)[0, 0]
    want = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(got, np.array(want, bool))
    causal = attention.causal_mask(jnp.arange(3), jnp.arange(3))[0, 0]
    np.testing.assert_array_equal(causal, np.tril(np.ones((3, 3), bool)))


def test_initialisers():
    def forward(x):
        module = attention.MultiHeadAttention(8, 32, num_kv_heads=8, name="attention")
        mask = jnp.ones((1, 1, 1, 1), bool)
        bias = attention.RelativeBias(200, bidirectional=True, name="bias")
        return module(x, module.key_value(x), None, mask), bias(*[jnp.arange(3)] * 2)

    init = hk.transform(forward).init
    params = init(jax.random.key(0), jnp.zeros((1, 1, 512)))
    deviations = {
        "query": (512 * 32) ** -0.5,
        "key": 512**-0.5,
        "value": 512**-0.5,
        "output": (8 * 32) ** -0.5,
    }
    assert params["attention"].keys() == deviations.keys()
    for name, want in deviations.items():
        kernel = np.asarray(params["attention"][name])
        assert abs(kernel.std() / want - 1) < 0.02
        assert np.abs(kernel).max() > 3 * want  # Not truncated.
    table = np.asarray(params["bias"]["table"])
    limit = (6 / (200 + 32)) ** 0.5
    assert table.shape == (200, 32)
    assert 0.99 * limit < table.max() <= limit
    assert abs(table.std() / (limit / 3**0.5) - 1) < 0.03


def test_relative_bias_depends_on_the_distance_only():
    function = hk.without_apply_rng(
        hk.transform(
            lambda q, k: attention.RelativeBias(3, bidirectional=False, name="b")(q, k)
        )
    )
    positions = jnp.arange(40)
    params = function.init(jax.random.key(0), positions, positions)
    bias = function.apply(params, positions, positions)
    np.testing.assert_array_equal(bias[:, 1:, 1:], bias[:, :-1, :-1])
    # A row at an offset, as decoding asks for it.
    row = function.apply(params, positions[30:31], positions)
    np.testing.assert_array_equal(row[:, 0], bias[:, 30])
    # Distance 9 in bucket 9, keys to the right in bucket 0 (spec §1.3).
    table = params["b"]["table"]
    np.testing.assert_array_equal(bias[:, 20, 11], table[:, 9])
    np.testing.assert_array_equal(bias[:, 20, 21], table[:, 0])


def test_tied_keys_and_values_share_one_matrix():
    def forward(x):
        module = attention.MultiHeadAttention(2, 4, 2, shared_kv=True, name="a")
        return module.key_value(x)

    function = hk.without_apply_rng(hk.transform(forward))
    x = jnp.ones((1, 3, 8))
    params = function.init(jax.random.key(0), x)
    assert list(params["a"]) == ["key_value"]
    key, value = function.apply(params, x)
    np.testing.assert_array_equal(key, value)
