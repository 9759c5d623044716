"""Relative attention in plain jnp, in the form that XLA runs best.

Operands and settings as in `api.py`; the batch leads every operand.
"""

import jax
import jax.numpy as jnp

MASKED_LOGIT = -1e9  # as T5 masks


def forward(
    query: jax.Array,  # [B, T, H, D]
    key: jax.Array,  # [B, S, H, D]
    value: jax.Array,  # [B, S, H, D]
    bias: jax.Array,  # [1 or B, H, T + S - 1], or [1, H, 0]
    query_segments: jax.Array,  # [1 or B, T]
    key_segments: jax.Array,  # [1 or B, S]
    offset: jax.Array,  # [1 or B]
    multiplier: jax.Array,  # [B, H, T, S] on the weights, or [B, 0, 0, 0]
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, T, H, D] and the log-sum-exp [B, H, T], float32."""
    del groups  # of gradients only
    logits = _logits(query, key, bias)
    mask = _mask(query_segments, key_segments, offset, causal, masked)
    if mask is not None:
        logits = jnp.where(mask, logits, MASKED_LOGIT)
    most = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - most)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    # Before the product, and heads first: XLA then fuses logits, softmax and product.
    weights /= total
    if multiplier.size:
        weights *= multiplier
    output = jnp.einsum(
        "bhts,bhsk->bhtk",
        weights.astype(value.dtype),
        _heads_first(value),
        preferred_element_type=jnp.float32,
    )
    output = jnp.swapaxes(output, 1, 2)
    log_sum_exp = jnp.where(
        _nothing_attended(most), MASKED_LOGIT, most + jnp.log(total)
    )
    return output.astype(query.dtype), log_sum_exp[..., 0]


def backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    query_segments: jax.Array,
    key_segments: jax.Array,
    offset: jax.Array,
    multiplier: jax.Array,
    output: jax.Array,  # [B, T, H, D]
    log_sum_exp: jax.Array,  # [B, H, T]
    output_grad: jax.Array,  # [B, T, H, D]
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of query, key, value and bias ([groups, H, T + S - 1])."""
    dtype, num_keys = query.dtype, key.shape[1]
    log_sum_exp = log_sum_exp[..., None]
    weights = jnp.exp(_logits(query, key, bias) - log_sum_exp)
    mask = _mask(query_segments, key_segments, offset, causal, masked)
    if mask is not None:
        outside = jnp.where(_nothing_attended(log_sum_exp), 1.0 / num_keys, 0.0)
        weights = jnp.where(mask, weights, outside)
    weights_grad = jnp.einsum(
        "bthk,bshk->bhts", output_grad, value, preferred_element_type=jnp.float32
    )
    dropped = weights
    if multiplier.size:
        weights_grad *= multiplier
        dropped = weights * multiplier
    mean = jnp.einsum(
        "bthk,bthk->bht",
        output.astype(jnp.float32),
        output_grad.astype(jnp.float32),
    )
    logits_grad = weights * (weights_grad - mean[..., None])
    if mask is not None:
        logits_grad = jnp.where(mask, logits_grad, 0.0)
    bias_grad = jnp.zeros((groups, *bias.shape[1:]), jnp.float32)
    if bias.size:
        summed = logits_grad.reshape(groups, -1, *logits_grad.shape[1:]).sum(axis=1)
        bias_grad = diagonal_sums(summed)
    logits_grad = logits_grad.astype(dtype)
    value_grad = jnp.einsum("bhts,bthk->bshk", dropped.astype(dtype), output_grad)
    query_grad = jnp.einsum("bhts,bshk->bthk", logits_grad, key)
    key_grad = jnp.einsum("bhts,bthk->bshk", logits_grad, query)
    return (
        query_grad.astype(dtype),
        key_grad.astype(key.dtype),
        value_grad.astype(value.dtype),
        bias_grad,
    )


def toeplitz(bias: jax.Array, num_queries: int) -> jax.Array:
    """Spreads [..., T + S - 1] to [..., T, S]: entry (t, s) is bias[s - t + T - 1].

    By a broadcast and a reshape, each row one step behind the last: no gather.
    """
    *lead, size = bias.shape
    padded = jnp.pad(bias, [(0, 0)] * len(lead) + [(0, 1)])
    rows = jnp.broadcast_to(padded[..., None, :], (*lead, num_queries, size + 1))
    skewed = rows.reshape(*lead, -1)[..., : num_queries * size]
    return skewed.reshape(*lead, num_queries, size)[..., num_queries - 1 :]


def diagonal_sums(x: jax.Array) -> jax.Array:
    """Sums [..., T, S] along diagonals, the transpose of `toeplitz`."""
    *lead, num_queries, num_keys = x.shape
    size = num_queries + num_keys - 1
    flat = jnp.pad(x, [(0, 0)] * (len(lead) + 1) + [(num_queries - 1, 0)])
    flat = flat.reshape(*lead, num_queries * size)
    flat = jnp.pad(flat, [(0, 0)] * len(lead) + [(0, num_queries)])
    return flat.reshape(*lead, num_queries, size + 1)[..., :size].sum(axis=-2)


def _heads_first(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, 1, 2)


def _logits(query: jax.Array, key: jax.Array, bias: jax.Array) -> jax.Array:
    logits = jnp.einsum(
        "bhtk,bhsk->bhts",
        _heads_first(query),
        _heads_first(key),
        preferred_element_type=jnp.float32,
    )
    return logits + toeplitz(bias, query.shape[1]) if bias.size else logits


def _mask(
    query_segments: jax.Array,
    key_segments: jax.Array,
    offset: jax.Array,
    causal: bool,
    masked: bool,
) -> jax.Array | None:
    """Returns bool [1 or B, 1, T, S], or None where every key may be attended."""
    mask = None
    if masked:
        mask = (query_segments[:, :, None] == key_segments[:, None, :])[:, None]
    if causal:
        num_queries, num_keys = query_segments.shape[1], key_segments.shape[1]
        ahead = jnp.arange(num_keys)[None, :] - jnp.arange(num_queries)[:, None]
        causal_mask = (ahead[None] <= offset[:, None, None])[:, None]
        mask = causal_mask if mask is None else mask & causal_mask
    return mask


def _nothing_attended(log_sum_exp: jax.Array) -> jax.Array:
    return log_sum_exp <= 0.5 * MASKED_LOGIT
