"""Tests relative attention against its formula in float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import relative_attention
from clinometer.tests.kernels.relative_attention import numpy_attention

IMPLEMENTATIONS = ("reference", "cpu")


def arrays(batch, queries, keys, heads, width, kv_heads=None, seed=0):
    rng = np.random.default_rng(seed)
    kv_shape = (batch, keys, kv_heads or heads, width)
    q = rng.normal(size=(batch, queries, heads, width)) * width**-0.5
    k, v = rng.normal(size=(2, *kv_shape))
    table = rng.normal(size=(heads, 32))
    return [jnp.asarray(x, jnp.float32) for x in (q, k, v, table)]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "width"),
    [(1, 1, 1, 4), (7, 7, 3, 5), (65, 65, 2, 32), (130, 201, 1, 64), (49, 400, 2, 8)],
)
def test_equals_the_definition(implementation, queries, keys, heads, width):
    q, k, v, table = arrays(2, queries, keys, heads, width)
    for settings in (
        {"causal": False},
        {"causal": True},
        {"causal": True, "query_offset": keys - queries},
        {"causal": False, "bidirectional": False, "max_distance": 50},
    ):
        call = functools.partial(
            relative_attention, implementation=implementation, **settings
        )
        got = jax.jit(call)(q, k, v, table)
        want = numpy_attention.attention(q, k, v, table, **settings)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=5e-6)
    plain = jax.jit(
        functools.partial(relative_attention, implementation=implementation)
    )
    want = numpy_attention.attention(q, k, v, None)
    np.testing.assert_allclose(plain(q, k, v), want, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_bfloat16_stays_within_its_rounding(implementation):
    args = arrays(2, 50, 50, 2, 16)
    q, k, v = (x.astype(jnp.bfloat16) for x in args[:3])
    got = relative_attention(q, k, v, args[3], implementation=implementation)
    assert got.dtype == jnp.bfloat16
    want = numpy_attention.attention(q, k, v, args[3])
    np.testing.assert_allclose(got.astype(np.float32), want, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_masks_and_segments(implementation, causal):
    q, k, v, table = arrays(3, 53, 53, 2, 8)
    rng = np.random.default_rng(1)
    segments = np.sort(rng.integers(0, 4, size=(3, 53)), axis=1)
    segments[1] = 1  # An example with one segment only.
    key_mask = rng.random((3, 53)) < 0.7
    key_mask[2] = False  # No key at all: the mean of all values.
    for masks in (
        {"query_segments": segments, "key_segments": segments},
        {"key_mask": key_mask},
        {
            "query_segments": segments,
            "key_segments": segments,
            "key_mask": key_mask,
        },
    ):
        masks = {name: jnp.asarray(x) for name, x in masks.items()}
        call = functools.partial(
            relative_attention, causal=causal, implementation=implementation
        )
        got = jax.jit(call)(q, k, v, table, **masks)
        want = numpy_attention.attention(q, k, v, table, causal=causal, **masks)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_padding_changes_nothing_of_the_real_positions(implementation):
    q, k, v, table = arrays(2, 60, 60, 2, 8)
    call = jax.jit(functools.partial(relative_attention, implementation=implementation))
    short = call(q[:, :41], k[:, :41], v[:, :41], table)
    mask = jnp.broadcast_to(jnp.arange(60) < 41, (2, 60))
    padded = call(
        q, k.at[:, 41:].set(1e3), v.at[:, 41:].set(-1e3), table, key_mask=mask
    )
    np.testing.assert_allclose(padded[:, :41], short, rtol=1e-5, atol=1e-6)


def test_shared_key_value_heads_serve_their_groups():
    q, k, v, table = arrays(1, 9, 9, 4, 4, kv_heads=2)
    want = numpy_attention.attention(
        q, np.repeat(k, 2, axis=2), np.repeat(v, 2, axis=2), table
    )
    for implementation in IMPLEMENTATIONS:
        got = relative_attention(q, k, v, table, implementation=implementation)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_permuting_tokens_permutes_outputs_without_a_bias(implementation):
    q, k, v, _ = arrays(1, 50, 50, 2, 8)
    order = np.random.default_rng(2).permutation(50)
    call = jax.jit(functools.partial(relative_attention, implementation=implementation))
    permuted = call(q[:, order], k[:, order], v[:, order])
    np.testing.assert_allclose(permuted, call(q, k, v)[:, order], rtol=1e-5, atol=1e-6)


def test_dropout_is_shared_by_all_queries_when_broadcast():
    ones = jnp.ones((1, 6, 2, 64))
    value = jnp.broadcast_to(jnp.eye(6, 64)[None, :, None, :], ones.shape)

    def weights(broadcast, implementation):
        return np.asarray(
            relative_attention(
                ones,
                ones,
                value,
                dropout_rate=0.5,
                dropout_key=jax.random.key(0),
                broadcast_dropout=broadcast,
                implementation=implementation,
            )
        )[..., :6]

    for implementation in IMPLEMENTATIONS:
        shared = weights(True, implementation)
        assert (shared == shared[:, :1]).all()
        assert 0 < (shared == 0).mean() < 1
        np.testing.assert_allclose(shared[shared > 0], 2 / 6, rtol=1e-6)
    own = weights(False, "reference")
    assert not (own == own[:, :1]).all()
    np.testing.assert_allclose(own[own > 0], 2 / 6, rtol=1e-6)
    with pytest.raises(kernels.NotSupportedError, match="cpu: dropout that is not"):
        weights(False, "cpu")
    np.testing.assert_array_equal(weights(False, ("cpu", "reference")), own)


def test_not_a_number_is_not_hidden():
    q, k, v, table = arrays(1, 50, 50, 1, 8)
    for implementation in IMPLEMENTATIONS:
        got = relative_attention(
            q.at[0, 3, 0, 1].set(jnp.nan), k, v, table, implementation=implementation
        )
        assert np.isnan(got[0, 3]).all()
        assert np.isfinite(np.delete(np.asarray(got), 3, axis=1)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"query": jnp.ones((4, 2, 3))},
            "query: must be .batch, length, heads, width.",
        ),
        ({"key": jnp.ones((1, 4, 3, 3))}, "heads, which must divide the 2 of query"),
        ({"value": jnp.ones((1, 5, 2, 3))}, r"value: must be \(1, 4, 2, 3\), got"),
        ({"query": jnp.ones((1, 4, 2, 3), jnp.float16)}, "float32 or bfloat16"),
        (
            {"key": jnp.ones((1, 4, 2, 3), jnp.bfloat16)},
            "of query's dtype; got bfloat16",
        ),
        ({"query": jnp.ones((1, 0, 2, 3))}, "empty axis"),
        ({"bias_table": jnp.ones((3, 32))}, r"bias_table: must be \[2, num_buckets\]"),
        ({"key_mask": jnp.ones((1, 3), bool)}, r"key_mask: must be \(1, 4\)"),
        ({"query_segments": jnp.ones((1, 4), int)}, "go together"),
        ({"dropout_rate": 1.0}, r"dropout_rate: must be in \[0, 1\)"),
        (
            {"implementation": "triton"},
            "implementation: got 'triton'; accepted are auto, ref",
        ),
        ({"implementation": ()}, "accepted are auto"),
    ],
)
def test_bad_input(change, message):
    x = jnp.ones((1, 4, 2, 3))
    arguments = {"query": x, "key": x, "value": x} | change
    if "value" not in change and arguments["key"].shape != x.shape:
        arguments["value"] = arguments["key"]
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: relative_attention(**arguments))


def test_long_sequences_need_little_memory():
    """No queries-by-keys array is made, forward or backward."""
    length = 1024
    x = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
    table = jax.ShapeDtypeStruct((2, 32), jnp.float32)

    def loss(q, k, v, table, implementation):
        return relative_attention(
            q, k, v, table, causal=True, implementation=implementation
        ).sum()

    def temporary_bytes(implementation):
        function = functools.partial(loss, implementation=implementation)
        compiled = jax.jit(jax.grad(function, (0, 1, 2, 3))).lower(x, x, x, table)
        return compiled.compile().memory_analysis().temp_size_in_bytes

    scores = 4 * 2 * length * length
    assert temporary_bytes("cpu") < 12 * (4 * length * 2 * 16) < scores / 4
    assert temporary_bytes("reference") > scores
