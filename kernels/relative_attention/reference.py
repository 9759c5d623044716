"""Reference implementation of relative attention in plain jnp.

Operands and settings are those of `specs.py`.
"""

import functools

import jax
import jax.numpy as jnp

from clinometer.kernels import masking

# The log-sum-exp of a query with no key to attend to; no other query has it.
MASKED_LOGIT = -1e38


def forward(
    query: jax.Array,  # [B, T, H, D]
    key: jax.Array,  # [B, S, H, D]
    value: jax.Array,  # [B, S, H, D]
    bias: jax.Array,  # [1 or B, H, T + S - 1], or [1, H, 0]
    query_segments: jax.Array,  # [1 or B, T]
    key_segments: jax.Array,  # [1 or B, S]
    offset: jax.Array,  # [1 or B]
    multiplier: jax.Array,  # [B, H, T, S] of the weights, or [1, 0, 0, 0]
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, T, H, D] and the log-sum-exp [B, H, T], float32."""
    del groups  # Only for gradients.
    mask = _mask(query_segments, key_segments, offset, causal, masked)
    if mask is not None and query.shape[1] == 1:
        # A decoding step: values that its only query must not see are set to 0.
        seen = mask | ~jnp.any(mask, axis=-1, keepdims=True)
        value = jnp.where(seen[:, 0, 0, :, None, None], value, 0)
    operands = (query, key, value, bias, multiplier)
    if mask is None or query.shape[1] == 1:
        return _forward(*operands, mask, masking.product)
    run = functools.partial(_forward, mask=mask)
    return masking.run(run, operands, (value,))


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    multiplier: jax.Array,
    mask: jax.Array | None,
    product: masking.Product,
) -> tuple[jax.Array, jax.Array]:
    logits = _logits(query, key, bias)
    nothing = None
    if mask is not None:
        nothing = ~jnp.any(mask, axis=-1, keepdims=True)
        logits = jnp.where(mask, logits, jnp.where(nothing, 0.0, -jnp.inf))
        mask |= nothing
    most = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - most)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    # Divide before the product, heads first: XLA then fuses softmax and products.
    weights /= total
    if multiplier.size:
        weights *= multiplier
    weights = weights.astype(value.dtype)
    output = product("bhts,bhsk->bhtk", weights, _heads_first(value), mask)
    log_sum_exp = most + jnp.log(total)
    if nothing is not None:
        log_sum_exp = jnp.where(nothing, MASKED_LOGIT, log_sum_exp)
    return jnp.swapaxes(output, 1, 2).astype(query.dtype), log_sum_exp[..., 0]


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
    """Returns the gradients of query, key, value and bias [groups, H, T + S - 1]."""
    mask = _mask(query_segments, key_segments, offset, causal, masked)
    arrays = (query, key, value, bias, multiplier, output, log_sum_exp, output_grad)
    if mask is None:
        return _backward(*arrays, mask, groups, masking.product)
    run = functools.partial(_backward, mask=mask, groups=groups)
    return masking.run(run, arrays, (query, key, output_grad))


def _backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    multiplier: jax.Array,
    output: jax.Array,
    log_sum_exp: jax.Array,
    output_grad: jax.Array,
    mask: jax.Array | None,
    groups: int,
    product: masking.Product,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    dtype, num_keys = query.dtype, key.shape[1]
    log_sum_exp = log_sum_exp[..., None]
    weights = jnp.exp(_logits(query, key, bias) - log_sum_exp)
    weighed = mask
    if mask is not None:
        nothing = log_sum_exp == MASKED_LOGIT
        weights = jnp.where(mask, weights, jnp.where(nothing, 1.0 / num_keys, 0.0))
        weighed = mask | nothing
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
    logits_grad, dropped = logits_grad.astype(dtype), dropped.astype(dtype)
    value_grad = product("bhts,bthk->bshk", dropped, output_grad, weighed)
    query_grad = product("bhts,bshk->bthk", logits_grad, key, mask)
    key_grad = product("bhts,bthk->bshk", logits_grad, query, mask)
    return (
        query_grad.astype(dtype),
        key_grad.astype(key.dtype),
        value_grad.astype(value.dtype),
        bias_grad,
    )


def toeplitz(bias: jax.Array, num_queries: int) -> jax.Array:
    """Expands [..., T + S - 1] to [..., T, S]; entry (t, s) is bias[s - t + T - 1].

    Uses a broadcast and a reshape, which shift each row by one, instead of a gather.

    Args:
        bias: [..., T + S - 1].
        num_queries: T.
    """
    *lead, size = bias.shape
    padded = jnp.pad(bias, [(0, 0)] * len(lead) + [(0, 1)])
    rows = jnp.broadcast_to(padded[..., None, :], (*lead, num_queries, size + 1))
    skewed = rows.reshape(*lead, -1)[..., : num_queries * size]
    return skewed.reshape(*lead, num_queries, size)[..., num_queries - 1 :]


def diagonal_sums(x: jax.Array) -> jax.Array:
    """Sums [..., T, S] along diagonals to [..., T + S - 1]; transposes `toeplitz`."""
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
    """Returns bool [1 or B, 1, T, S], or None if every key may be attended to."""
    mask = None
    if masked:
        mask = (query_segments[:, :, None] == key_segments[:, None, :])[:, None]
    if causal:
        num_queries, num_keys = query_segments.shape[1], key_segments.shape[1]
        ahead = jnp.arange(num_keys)[None, :] - jnp.arange(num_queries)[:, None]
        causal_mask = (ahead[None] <= offset[:, None, None])[:, None]
        mask = causal_mask if mask is None else mask & causal_mask
    return mask
