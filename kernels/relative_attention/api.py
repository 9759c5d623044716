"""`relative_attention`: softmax attention with T5's relative position bias."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels import masking
from clinometer.kernels.relative_attention import buckets
from clinometer.kernels.relative_attention import cpu
from clinometer.kernels.relative_attention import reference
from clinometer.kernels.relative_attention import specs
from clinometer.kernels.relative_attention import tpu

_OP = "relative_attention"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.FORWARD,
    specs.forward_flops,
    {
        "reference": declaration.Implementation(reference.forward),
        "cpu": cpu.FORWARD,
        "tpu": tpu.FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.BACKWARD,
    specs.backward_flops,
    {
        "reference": declaration.Implementation(reference.backward),
        "cpu": cpu.BACKWARD,
        "tpu": tpu.BACKWARD,
    },
)
_attend = gradient.Differentiable(FORWARD, BACKWARD, outputs=("output",))


def relative_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias_table: jax.Array | None = None,
    *,
    causal: bool = False,
    bidirectional: bool | None = None,
    max_distance: int = buckets.MAX_DISTANCE,
    query_offset: int | jax.Array = 0,
    key_mask: jax.Array | None = None,
    query_segments: jax.Array | None = None,
    key_segments: jax.Array | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    broadcast_dropout: bool = True,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Softmax attention with a learned bias per bucketed distance.

    For T queries and S keys, the bias is a vector of T + S - 1 distances per head; only
    the reference materializes [H, T, S] arrays. Logits are not scaled by 1/sqrt(D),
    which T5 folds into its initializer. Logits, softmax and sums are float32.

    Shapes: B batch, T queries, S keys, H heads, G key-value heads (a divisor of H), D
    head width.

    Args:
        query: [B, T, H, D], float32 or bfloat16.
        key: [B, S, G, D], of query's dtype.
        value: [B, S, G, D], of query's dtype.
        bias_table: [H, num_buckets], or None for no bias (cross-attention).
        causal: whether query t attends only to keys s <= t + query_offset.
        bidirectional: whether buckets distinguish left from right; None for
            `not causal`.
        max_distance: the distance from which all distances share the last bucket.
        query_offset: the position of the first query among the keys; may be traced.
        key_mask: bool [B, S], True for keys that may be attended to.
        query_segments: int [B, T]; queries attend only to keys of their own segment.
        key_segments: int [B, S]; required with query_segments.
        dropout_rate: the dropout rate of the weights, in [0, 1).
        dropout_key: a PRNG key; None for no dropout, as in evaluation.
        broadcast_dropout: whether all queries share one mask, as in T5; a mask per
            query is only supported by the reference.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [B, T, H, D], of query's dtype. A query with no key to attend to gets the mean
        of all values, in which masked keys that are not finite count as zero.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Raffel et al. 2020, as trained with Mesh TensorFlow
    (ARCHITECTURES.md#transformer-attention).
    """
    implementation = dispatch.check_implementation(_OP, implementation)
    checks.attention_arrays(_OP, query, key, value)
    batch, num_queries, num_heads, _ = query.shape
    _check_bias_table(num_heads, bias_table)
    num_keys = key.shape[1]
    if not 0.0 <= dropout_rate < 1.0:
        raise ValueError(f"{_OP}: dropout_rate: must be in [0, 1), got {dropout_rate}")
    masked = key_mask is not None or query_segments is not None
    query_segments, key_segments = _segments(
        query, key, key_mask, query_segments, key_segments
    )
    if key_mask is not None:
        key, value = (masking.finite_or_seen(x, key_mask) for x in (key, value))
    offset = jnp.asarray(query_offset, jnp.int32).reshape(1)
    if bias_table is None:
        bias = jnp.zeros((1, num_heads, 0), jnp.float32)
    else:
        distances = jnp.arange(1 - num_queries, num_keys) - offset
        bucket = buckets.relative_position_bucket(
            distances,
            bidirectional=not causal if bidirectional is None else bidirectional,
            num_buckets=bias_table.shape[1],
            max_distance=max_distance,
        )
        bias = jnp.take(bias_table.astype(jnp.float32), bucket, axis=1)[None]
    groups = num_heads // key.shape[2]
    if groups > 1:
        key, value = jnp.repeat(key, groups, axis=2), jnp.repeat(value, groups, axis=2)
    multiplier = jnp.zeros((1, 0, 0, 0), jnp.float32)
    if dropout_key is not None and dropout_rate > 0.0:
        keep = 1.0 - dropout_rate
        if broadcast_dropout:
            # A factor of the weights that all queries share can multiply the values.
            kept = jax.random.bernoulli(dropout_key, keep, (batch, num_heads, num_keys))
            factor = jnp.where(kept, 1.0 / keep, 0.0).astype(value.dtype)
            value = value * jnp.swapaxes(factor, 1, 2)[..., None]
        else:
            shape = (batch, num_heads, num_queries, num_keys)
            kept = jax.random.bernoulli(dropout_key, keep, shape)
            multiplier = jnp.where(kept, 1.0 / keep, 0.0)
    operands = {
        "query": query,
        "key": key,
        "value": value,
        "bias": bias,
        "query_segments": query_segments,
        "key_segments": key_segments,
        "offset": offset,
        "multiplier": multiplier,
    }
    settings = {"causal": causal, "masked": masked, "groups": 1}
    (output,) = _attend(operands, settings, implementation)
    return output


def _segments(
    query: jax.Array,
    key: jax.Array,
    key_mask: jax.Array | None,
    query_segments: jax.Array | None,
    key_segments: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Returns both segments as int32; masked keys have segment -1."""
    batch = query.shape[0]
    if (query_segments is None) != (key_segments is None):
        raise ValueError(f"{_OP}: query_segments and key_segments go together")
    for name, x, length in (
        ("key_mask", key_mask, key.shape[1]),
        ("query_segments", query_segments, query.shape[1]),
        ("key_segments", key_segments, key.shape[1]),
    ):
        if x is not None and x.shape != (batch, length):
            raise ValueError(f"{_OP}: {name}: must be {(batch, length)}, got {x.shape}")
    if query_segments is None:
        query_segments = jnp.zeros((1, query.shape[1]), jnp.int32)
        key_segments = jnp.zeros((1, key.shape[1]), jnp.int32)
    if key_mask is not None:
        key_segments = jnp.where(key_mask, key_segments, -1)
    return query_segments.astype(jnp.int32), key_segments.astype(jnp.int32)


def _check_bias_table(num_heads: int, bias_table: jax.Array | None) -> None:
    if bias_table is not None and (
        bias_table.ndim != 2 or bias_table.shape[0] != num_heads
    ):
        raise ValueError(
            f"{_OP}: bias_table: must be [{num_heads}, num_buckets], got shape "
            f"{bias_table.shape}"
        )
