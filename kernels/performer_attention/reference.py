"""Reference implementation of Performer attention in plain jnp.

Operands and settings are those of `specs.py`. Everything is computed in float32, with
heads before positions, because products of contiguous matrices are several times faster
than of strided ones. Causal attention uses chunks of C positions with a state for each,
S/C * D^2 floats in total.
"""

import functools

import jax
import jax.numpy as jnp

from clinometer.kernels import masking

# Positions summed at a time; a plain float32 sum of many more loses precision.
PART = 1024
# Longer chunks waste work above the diagonal; shorter ones make slow products.
CHUNK = 64


def forward(
    query: jax.Array,  # [B, T, H, D]
    key: jax.Array,  # [B, S, H, D]
    value: jax.Array,  # [B, S, H, D]
    mask: jax.Array,  # [1 or B, S] of phi(key), or [1, 0]
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, T, H, D] and the denominator [B, H, T], float32."""
    run = functools.partial(_forward, causal=causal, epsilon=epsilon)
    operands = (query, key, value, mask)
    if not causal:
        return run(*operands, product=masking.product)
    return masking.run(run, operands, (value,))


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    *,
    causal: bool,
    epsilon: float,
    product: masking.Product,
) -> tuple[jax.Array, jax.Array]:
    arrays = _gathered(query, key, value, mask, epsilon)
    if causal:
        numerator, denominator = _causal_forward(*arrays, product)
    else:
        numerator, denominator = _bidirectional_forward(*arrays)
    output = numerator * inverse(denominator)[..., None]
    return _heads_last(output).astype(query.dtype), denominator


def backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    output: jax.Array,  # [B, T, H, D]
    denominator: jax.Array,  # [B, H, T]
    output_grad: jax.Array,  # [B, T, H, D]
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of query, key and value."""
    run = functools.partial(_backward, causal=causal, epsilon=epsilon)
    operands = (query, key, value, mask, output, denominator, output_grad)
    if not causal:
        return run(*operands, product=masking.product)
    most = jnp.max(jnp.abs(inverse(denominator)))
    return masking.run(run, operands, (query, key, output_grad * most))


def _backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    output: jax.Array,
    denominator: jax.Array,
    output_grad: jax.Array,
    *,
    causal: bool,
    epsilon: float,
    product: masking.Product,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    queries, keys, values = _gathered(query, key, value, mask, epsilon)
    scale = inverse(denominator)[..., None]
    output_grad = _heads_first(output_grad)
    # The gradients of numerator and denominator.
    gradient = output_grad * scale
    dots = jnp.sum(output_grad * _heads_first(output), axis=-1, keepdims=True)
    arrays = (queries, keys, values, gradient, -dots * scale)
    if causal:
        gradients = _causal_backward(*arrays, product)
    else:
        gradients = _bidirectional_backward(*arrays)
    query_grad, key_grad, value_grad = (_heads_last(x) for x in gradients)
    query_grad = jnp.where(query <= 0, 0.0, query_grad)
    key_grad = jnp.where(key <= 0, 0.0, key_grad)
    if mask.size:
        key_grad *= mask[:, :, None, None]
    return (
        query_grad.astype(query.dtype),
        key_grad.astype(key.dtype),
        value_grad.astype(value.dtype),
    )


def features(x: jax.Array, epsilon: float) -> jax.Array:
    """Returns phi(x), float32.

    Args:
        x: an array of any shape.
        epsilon: at least 0.
    """
    return jnp.maximum(x.astype(jnp.float32), 0.0) + epsilon


def inverse(denominator: jax.Array) -> jax.Array:
    """Returns 1 / x, or 0 for the denominator of a query without keys."""
    return jnp.where(denominator == 0.0, 0.0, 1.0 / denominator)


def _heads_first(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x.astype(jnp.float32), 1, 2)


def _heads_last(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, 1, 2)


def _gathered(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns phi(query) [B, H, T, D], phi(key) and value [B, H, S, D]."""
    queries = features(_heads_first(query), epsilon)
    keys = features(_heads_first(key), epsilon)
    if mask.size:
        keys *= mask[:, None, :, None]
    return queries, keys, _heads_first(value)


def _bidirectional_forward(
    queries: jax.Array, keys: jax.Array, values: jax.Array
) -> tuple[jax.Array, jax.Array]:
    state = _outer(keys, values)
    denominator = jnp.einsum("bhtd,bhd->bht", queries, _total(keys))
    return jnp.einsum("bhtd,bhde->bhte", queries, state), denominator


def _bidirectional_backward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    gradient: jax.Array,  # [B, H, T, D] of the numerator
    total_grad: jax.Array,  # [B, H, T, 1] of the denominator
) -> tuple[jax.Array, ...]:
    query_grad = jnp.einsum("bhte,bhde->bhtd", gradient, _outer(keys, values))
    query_grad += total_grad * _total(keys)[:, :, None]
    state = _outer(queries, gradient)
    total = _total(queries * total_grad)[:, :, None]
    key_grad = jnp.einsum("bhse,bhde->bhsd", values, state) + total
    return query_grad, key_grad, jnp.einsum("bhsd,bhde->bhse", keys, state)


def _outer(left: jax.Array, right: jax.Array) -> jax.Array:
    """Returns the sum of outer products over all positions, [B, H, D, E]."""
    if left.shape[2] <= PART:
        return jnp.einsum("bhsd,bhse->bhde", left, right)
    left, right = (_chunks(x, PART) for x in (left, right))
    return _in_pairs(jnp.einsum("bhncd,bhnce->bhnde", left, right))


def _total(x: jax.Array) -> jax.Array:
    """Returns the sum over all positions, [B, H, D]."""
    if x.shape[2] <= PART:
        return x.sum(axis=2)
    return _in_pairs(_chunks(x, PART).sum(axis=3))


def _in_pairs(x: jax.Array) -> jax.Array:
    """Returns the pairwise sum along axis 2."""
    while x.shape[2] > 1:
        rest = [(0, 0)] * (x.ndim - 3)
        x = jnp.pad(x, [(0, 0), (0, 0), (0, x.shape[2] % 2), *rest])
        x = x[:, :, ::2] + x[:, :, 1::2]
    return x[:, :, 0]


def _causal_forward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    product: masking.Product,
) -> tuple[jax.Array, jax.Array]:
    length = queries.shape[2]
    queries, keys, values = (_chunks(x) for x in (queries, keys, values))
    states = _before(jnp.einsum("bhncd,bhnce->bhnde", keys, values))
    totals = _before(keys.sum(axis=3))
    scores = jnp.tril(jnp.einsum("bhncd,bhnmd->bhncm", queries, keys))
    numerator = product("bhncm,bhnme->bhnce", scores, values, _earlier(scores))
    numerator += jnp.einsum("bhncd,bhnde->bhnce", queries, states)
    denominator = scores.sum(-1) + jnp.einsum("bhncd,bhnd->bhnc", queries, totals)
    denominator = denominator.reshape(*denominator.shape[:2], -1)[..., :length]
    return _whole(numerator, length), denominator


def _causal_backward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    gradient: jax.Array,
    total_grad: jax.Array,
    product: masking.Product,
) -> tuple[jax.Array, ...]:
    length = queries.shape[2]
    arrays = (queries, keys, values, gradient, total_grad)
    queries, keys, values, gradient, total_grad = (_chunks(x) for x in arrays)
    states = _before(jnp.einsum("bhncd,bhnce->bhnde", keys, values))
    totals = _before(keys.sum(axis=3))
    scores = jnp.einsum("bhnce,bhnme->bhncm", gradient, values) + total_grad
    scores = jnp.tril(scores)
    earlier = _earlier(scores)
    query_grad = product("bhncm,bhnmd->bhncd", scores, keys, earlier)
    query_grad += jnp.einsum("bhnce,bhnde->bhncd", gradient, states)
    query_grad += total_grad * totals[..., None, :]
    states = _after(jnp.einsum("bhncd,bhnce->bhnde", queries, gradient))
    totals = _after(jnp.sum(queries * total_grad, axis=3))
    key_grad = product("bhncm,bhncd->bhnmd", scores, queries, earlier)
    key_grad += jnp.einsum("bhnme,bhnde->bhnmd", values, states) + totals[..., None, :]
    scores = jnp.tril(jnp.einsum("bhncd,bhnmd->bhncm", queries, keys))
    value_grad = product("bhncm,bhnce->bhnme", scores, gradient, earlier)
    value_grad += jnp.einsum("bhnmd,bhnde->bhnme", keys, states)
    return tuple(_whole(x, length) for x in (query_grad, key_grad, value_grad))


def _earlier(scores: jax.Array) -> jax.Array:
    """Returns the causal mask within a chunk, bool [C, C]."""
    return jnp.tril(jnp.ones(scores.shape[-2:], jnp.bool_))


def _before(x: jax.Array) -> jax.Array:
    """Returns the sums of all chunks before each one, along axis 2.

    The chunk is not subtracted from an inclusive sum, because its rounding errors would
    then affect earlier queries.
    """
    rest = [(0, 0)] * (x.ndim - 3)
    return jnp.pad(jnp.cumsum(x, axis=2)[:, :, :-1], [(0, 0), (0, 0), (1, 0), *rest])


def _after(x: jax.Array) -> jax.Array:
    """Returns the sums of all chunks after each one, along axis 2."""
    rest = [(0, 0)] * (x.ndim - 3)
    sums = jax.lax.cumsum(x, axis=2, reverse=True)
    return jnp.pad(sums[:, :, 1:], [(0, 0), (0, 0), (0, 1), *rest])


def _chunks(x: jax.Array, most: int = CHUNK) -> jax.Array:
    """Splits [B, H, S, D] into [B, H, N, C, D], padded with zeros."""
    size = min(most, x.shape[2])
    x = jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % size), (0, 0)))
    return x.reshape(*x.shape[:2], -1, size, x.shape[3])


def _whole(x: jax.Array, length: int) -> jax.Array:
    """Joins [B, H, N, C, D] to [B, H, length, D]."""
    return x.reshape(*x.shape[:2], -1, x.shape[4])[:, :, :length]
