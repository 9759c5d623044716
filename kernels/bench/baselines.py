"""Plain jnp baselines for the kernels, differentiated by JAX.

They include efficient forms and forms that are common in other code. Shapes are those
of the public functions: query, key and value are [B, S, H, D] and table is
[H, num_buckets]; x of a convolution is [B, S, d] and weights are [H, K] or
[B, S, H, K]; in Switch, logits are [G, N, E], slot and gate [G, N], x [G, N, d] and y
[G, E, C, d].
"""

import jax
import jax.numpy as jnp

from clinometer.kernels.relative_attention import buckets
from clinometer.kernels.relative_attention import reference as attention_reference

EPSILON = 1e-3  # Of Performer's features: the default of `performer_attention`.


def attention_gathered_table(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    table: jax.Array,
    *,
    causal: bool,
) -> jax.Array:
    """Dense attention with the bias [H, T, S] gathered from the table, as in T5."""
    ahead = _ahead(query.shape[1])
    bucket = buckets.relative_position_bucket(ahead, bidirectional=not causal)
    return _dense_attention(query, key, value, table[:, bucket], causal)


def attention_given_bias(
    query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array, *, causal: bool
) -> jax.Array:
    """Dense attention with a precomputed bias [H, T, S]."""
    return _dense_attention(query, key, value, bias, causal)


def attention_toeplitz_skew(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    table: jax.Array,
    *,
    causal: bool,
) -> jax.Array:
    """Dense attention with a bias vector per head, by distance, skewed to [H, T, S]."""
    length = query.shape[1]
    distances = jnp.arange(1 - length, length)
    bucket = buckets.relative_position_bucket(distances, bidirectional=not causal)
    bias = attention_reference.toeplitz(table[:, bucket], length)
    return _dense_attention(query, key, value, bias, causal)


def performer_chunk64(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal Performer in chunks of 64, with the denominator as an extra value."""
    size = 64
    length = query.shape[1]

    def chunks(x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x.astype(jnp.float32), 1, 2)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, -length % size), (0, 0)))
        return x.reshape(*x.shape[:2], -1, size, x.shape[3])

    queries, keys = chunks(_features(query)), chunks(_features(key))
    values = chunks(jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1))
    products = jnp.einsum("bhncd,bhnce->bhnde", keys, values)
    states = jnp.cumsum(products, axis=2) - products
    scores = jnp.tril(jnp.einsum("bhncd,bhnmd->bhncm", queries, keys))
    sums = jnp.einsum("bhncm,bhnme->bhnce", scores, values)
    sums += jnp.einsum("bhncd,bhnde->bhnce", queries, states)
    sums = sums.reshape(*sums.shape[:2], -1, sums.shape[4])[:, :, :length]
    output = sums[..., :-1] / sums[..., -1:]
    return jnp.swapaxes(output, 1, 2).astype(query.dtype)


def performer_quadratic(
    query: jax.Array, key: jax.Array, value: jax.Array
) -> jax.Array:
    """Causal Performer as masked attention, with scores [B, H, S, S]."""
    scores = jnp.einsum(
        "bthd,bshd->bhts",
        _features(query),
        _features(key),
        preferred_element_type=jnp.float32,
    )
    scores = jnp.tril(scores)
    output = jnp.einsum("bhts,bshd->bthd", scores, value.astype(jnp.float32))
    total = jnp.moveaxis(scores.sum(axis=-1), 1, 2)[..., None]
    return (output / total).astype(query.dtype)


def performer_scan(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal Performer with a `lax.scan` over positions."""
    arrays = [
        jnp.moveaxis(x.astype(jnp.float32), 1, 0)
        for x in (_features(query), _features(key), value)
    ]
    _, batch, num_heads, width = arrays[0].shape

    def step(
        carry: tuple[jax.Array, jax.Array], x: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state, total = carry
        query_t, key_t, value_t = x
        state += key_t[..., :, None] * value_t[..., None, :]
        total += key_t
        numerator = jnp.einsum("bhd,bhde->bhe", query_t, state)
        return (state, total), numerator / jnp.sum(
            query_t * total, axis=-1, keepdims=True
        )

    start = jnp.zeros((batch, num_heads, width, width)), jnp.zeros(arrays[0].shape[1:])
    _, output = jax.lax.scan(step, start, tuple(arrays))
    return jnp.moveaxis(output, 0, 1).astype(query.dtype)


def light_shift_sum(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Causal light convolution as a sum of shifted products."""
    length, channels = x.shape[1:]
    num_heads, taps = weights.shape
    padded = _padded(x, taps)
    filters = jnp.repeat(weights, channels // num_heads, axis=0).astype(jnp.float32)
    output = sum(filters[:, j] * padded[:, j : j + length] for j in range(taps))
    return output.astype(x.dtype)


def light_grouped_conv(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Causal light convolution by `lax.conv_general_dilated`, one group per channel."""
    channels = x.shape[2]
    num_heads, taps = weights.shape
    filters = jnp.repeat(weights, channels // num_heads, axis=0).T[:, None]
    return jax.lax.conv_general_dilated(
        x,
        filters.astype(x.dtype),
        (1,),
        [(taps - 1, 0)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=channels,
    )


def dynamic_shift_sum(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Causal dynamic convolution as a sum of shifted products."""
    length = x.shape[1]
    taps = weights.shape[3]
    padded = _by_head(_padded(x, taps), weights)
    weights = weights.astype(jnp.float32)
    output = sum(weights[..., j, None] * padded[:, j : j + length] for j in range(taps))
    return output.reshape(x.shape).astype(x.dtype)


def dynamic_unfold(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Causal dynamic convolution as a product with an unfolded [B, S, d, K]."""
    length = x.shape[1]
    taps = weights.shape[3]
    padded = _by_head(_padded(x, taps), weights)
    unfolded = jnp.stack([padded[:, j : j + length] for j in range(taps)], axis=-1)
    weights = weights.astype(jnp.float32)
    output = jnp.einsum("bshrk,bshk->bshr", unfolded, weights)
    return output.reshape(x.shape).astype(x.dtype)


def route_one_hot_cumsum(logits: jax.Array, *, capacity: int) -> tuple[jax.Array, ...]:
    """Routes by a cumulative sum of one-hot choices; gives the fields of a `Route`."""
    num_tokens, num_experts = logits.shape[1:]
    logits = logits.astype(jnp.float32)
    probabilities = jax.nn.softmax(logits, axis=-1)
    expert = jnp.argmax(probabilities, axis=-1).astype(jnp.int32)
    chosen = jax.nn.one_hot(expert, num_experts, dtype=jnp.int32)
    position = jnp.sum(jnp.cumsum(chosen, axis=1) * chosen, axis=-1) - 1
    total = jnp.sum(chosen, axis=1)
    log_sum_exp = jax.nn.logsumexp(logits, axis=-1)
    return (
        expert,
        jnp.where(position < capacity, expert * capacity + position, -1),
        jnp.max(probabilities, axis=-1),
        jnp.minimum(total, capacity),
        total.astype(jnp.float32) / num_tokens,
        jnp.mean(probabilities, axis=1),
        jnp.mean(jnp.square(log_sum_exp), axis=-1),
    )


def dispatch_scatter(
    x: jax.Array, slot: jax.Array, *, num_experts: int, capacity: int
) -> jax.Array:
    """Writes each token's row to its slot."""
    num_slots = num_experts * capacity

    def rows(x: jax.Array, slot: jax.Array) -> jax.Array:
        target = jnp.where(slot < 0, num_slots, slot)
        return (
            jnp.zeros((num_slots, x.shape[1]), x.dtype)
            .at[target]
            .set(x, mode="drop", unique_indices=False)
        )

    return _by_expert(jax.vmap(rows)(x, slot), num_experts)


def dispatch_gather(
    x: jax.Array, slot: jax.Array, *, num_experts: int, capacity: int
) -> jax.Array:
    """Finds the token of each slot, then gathers its row."""
    num_slots = num_experts * capacity

    def rows(x: jax.Array, slot: jax.Array) -> jax.Array:
        target = jnp.where(slot < 0, num_slots, slot)
        token = jnp.full((num_slots,), -1, jnp.int32)
        token = token.at[target].set(jnp.arange(x.shape[0]), mode="drop")
        return jnp.where((token >= 0)[:, None], x[jnp.maximum(token, 0)], 0)

    return _by_expert(jax.vmap(rows)(x, slot), num_experts)


def dispatch_one_hot_einsum(
    x: jax.Array, slot: jax.Array, *, num_experts: int, capacity: int
) -> jax.Array:
    """Multiplies by a one-hot mask [N, E * C], as Mesh TensorFlow does."""
    mask = jax.nn.one_hot(slot, num_experts * capacity, dtype=x.dtype)
    return _by_expert(jnp.einsum("gns,gnd->gsd", mask, x), num_experts)


def combine_gather(y: jax.Array, gate: jax.Array, slot: jax.Array) -> jax.Array:
    """Gathers each token's row from its slot."""
    rows = y.reshape(y.shape[0], -1, y.shape[3])
    rows = jnp.take_along_axis(rows, jnp.maximum(slot, 0)[..., None], axis=1)
    weight = jnp.where(slot >= 0, gate, 0.0)[..., None]
    return (rows.astype(jnp.float32) * weight).astype(y.dtype)


def combine_one_hot_einsum(y: jax.Array, gate: jax.Array, slot: jax.Array) -> jax.Array:
    """Multiplies by a one-hot mask [N, E * C] scaled by the gates."""
    rows = y.reshape(y.shape[0], -1, y.shape[3])
    mask = jax.nn.one_hot(slot, rows.shape[1], dtype=jnp.float32) * gate[..., None]
    return jnp.einsum("gns,gsd->gnd", mask, rows.astype(jnp.float32)).astype(y.dtype)


def expert_einsum(x: jax.Array, wi: jax.Array, wo: jax.Array) -> jax.Array:
    """Runs each expert's feed-forward layer on all of its slots, filled or empty."""
    hidden = jnp.einsum("gecd,edf->gecf", x, wi, preferred_element_type=jnp.float32)
    hidden = jax.nn.relu(hidden).astype(x.dtype)
    y = jnp.einsum("gecf,efd->gecd", hidden, wo, preferred_element_type=jnp.float32)
    return y.astype(x.dtype)


def _ahead(length: int) -> jax.Array:
    return jnp.arange(length)[None, :] - jnp.arange(length)[:, None]


def _dense_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array, causal: bool
) -> jax.Array:
    logits = jnp.einsum(
        "bthk,bshk->bhts", query, key, preferred_element_type=jnp.float32
    )
    logits += bias.astype(jnp.float32)
    if causal:
        logits = jnp.where(_ahead(query.shape[1]) <= 0, logits, -1e9)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("bhts,bshk->bthk", weights, value)


def _features(x: jax.Array) -> jax.Array:
    return jnp.maximum(x.astype(jnp.float32), 0.0) + EPSILON


def _padded(x: jax.Array, taps: int) -> jax.Array:
    return jnp.pad(x.astype(jnp.float32), ((0, 0), (taps - 1, 0), (0, 0)))


def _by_head(x: jax.Array, weights: jax.Array) -> jax.Array:
    num_heads = weights.shape[2]
    return x.reshape(*x.shape[:2], num_heads, x.shape[2] // num_heads)


def _by_expert(rows: jax.Array, num_experts: int) -> jax.Array:
    return rows.reshape(rows.shape[0], num_experts, -1, rows.shape[2])
