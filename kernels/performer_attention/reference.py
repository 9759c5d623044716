"""Performer attention in plain jnp, in the form that XLA runs best.

Operands and settings as in `api.py`; the batch leads every operand. All is computed in
float32, causal attention by chunks of positions with a state between them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

# Longer chunks waste products right of the diagonal, shorter ones are slow products.
CHUNK = 64


def forward(
    query: jax.Array,  # [B, T, H, D]
    key: jax.Array,  # [B, S, H, D]
    value: jax.Array,  # [B, S, H, D]
    mask: jax.Array,  # [1 or B, S] on phi(key), or [1, 0]
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, T, H, D] and the denominator [B, H, T], float32."""
    run = _causal_forward if causal else _bidirectional_forward
    output, denominator = run(query, key, value, _factors(mask), epsilon)
    return output.astype(query.dtype), denominator


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
    factors = _factors(mask)
    scale = jnp.moveaxis(inverse(denominator), 1, 2)  # [B, T, H]
    output_grad = output_grad.astype(jnp.float32)
    # Of the numerator and of the denominator.
    gradient = output_grad * scale[..., None]
    dots = jnp.einsum("bthd,bthd->bth", output_grad, output.astype(jnp.float32))
    run = _causal_backward if causal else _bidirectional_backward
    query_grad, key_grad, value_grad = run(
        query, key, value, factors, gradient, -dots * scale, epsilon
    )
    query_grad = jnp.where(query <= 0, 0.0, query_grad)
    key_grad = jnp.where(key <= 0, 0.0, key_grad * _or_one(factors))
    return (
        query_grad.astype(query.dtype),
        key_grad.astype(key.dtype),
        value_grad.astype(value.dtype),
    )


def features(x: jax.Array, epsilon: float) -> jax.Array:
    """Returns phi(x), float32."""
    return jnp.maximum(x.astype(jnp.float32), 0.0) + epsilon


def _factors(mask: jax.Array) -> jax.Array | None:
    return mask[:, :, None, None] if mask.size else None


def _or_one(factors: jax.Array | None) -> jax.Array | float:
    return 1.0 if factors is None else factors


def inverse(denominator: jax.Array) -> jax.Array:
    """1 / x; 0 for the denominator of a query without a key."""
    return jnp.where(denominator == 0.0, 0.0, 1.0 / denominator)


def _bidirectional_forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    factors: jax.Array | None,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    queries = features(query, epsilon)
    keys = features(key, epsilon) * _or_one(factors)
    state = jnp.einsum("bshd,bshe->bhde", keys, value.astype(jnp.float32))
    denominator = jnp.einsum("bthd,bhd->bht", queries, keys.sum(axis=1))
    output = jnp.einsum("bthd,bhde->bthe", queries, state)
    return output * jnp.moveaxis(inverse(denominator), 1, 2)[..., None], denominator


def _bidirectional_backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    factors: jax.Array | None,
    gradient: jax.Array,  # [B, T, H, D] of the numerator
    total_grad: jax.Array,  # [B, T, H] of the denominator
    epsilon: float,
) -> tuple[jax.Array, ...]:
    queries = features(query, epsilon)
    keys = features(key, epsilon) * _or_one(factors)
    value = value.astype(jnp.float32)
    state = jnp.einsum("bshd,bshe->bhde", keys, value)
    query_grad = jnp.einsum("bthe,bhde->bthd", gradient, state)
    query_grad += total_grad[..., None] * keys.sum(axis=1)[:, None]
    state = jnp.einsum("bthd,bthe->bhde", queries, gradient)
    total = jnp.einsum("bthd,bth->bhd", queries, total_grad)
    key_grad = jnp.einsum("bshe,bhde->bshd", value, state) + total[:, None]
    return query_grad, key_grad, jnp.einsum("bshd,bhde->bshe", keys, state)


def _causal_forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    factors: jax.Array | None,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    phi = functools.partial(features, epsilon=epsilon)

    def step(carry: Any, chunk: Any) -> Any:
        state, total = carry
        query, key, value, factors = chunk
        query, key = phi(query), phi(key) * _or_one(factors)
        value = value.astype(jnp.float32)
        scores = jnp.tril(jnp.einsum("bhcd,bhmd->bhcm", query, key))
        output = jnp.einsum("bhcm,bhme->bhce", scores, value)
        output += jnp.einsum("bhcd,bhde->bhce", query, state)
        denominator = scores.sum(axis=-1) + jnp.einsum("bhcd,bhd->bhc", query, total)
        state += jnp.einsum("bhcd,bhce->bhde", key, value)
        results = output * inverse(denominator)[..., None], denominator[..., None]
        return (state, total + key.sum(axis=2)), results

    chunks = _chunks((query, key, value, factors))
    _, results = jax.lax.scan(step, _empty(query), chunks)
    output, denominator = (_whole(x, query.shape[1]) for x in results)
    return output, jnp.moveaxis(denominator[..., 0], 1, 2)


def _causal_backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    factors: jax.Array | None,
    gradient: jax.Array,
    total_grad: jax.Array,
    epsilon: float,
) -> tuple[jax.Array, ...]:
    phi = functools.partial(features, epsilon=epsilon)

    def from_first(carry: Any, chunk: Any) -> Any:
        state, total = carry  # sums over keys of value phi(key)^T and phi(key)
        _, key, value, factors, gradient, total_grad = chunk
        key, value = phi(key) * _or_one(factors), value.astype(jnp.float32)
        scores = jnp.einsum("bhce,bhme->bhcm", gradient, value) + total_grad
        query_grad = jnp.einsum("bhcm,bhmd->bhcd", jnp.tril(scores), key)
        query_grad += jnp.einsum("bhce,bhed->bhcd", gradient, state)
        query_grad += total_grad * total[:, :, None]
        state += jnp.einsum("bhce,bhcd->bhed", value, key)
        return (state, total + key.sum(axis=2)), query_grad

    def from_last(carry: Any, chunk: Any) -> Any:
        state, total = carry  # sums over queries of phi(query) g^T and total_grad's
        query, key, value, factors, gradient, total_grad = chunk
        query, key = phi(query), phi(key) * _or_one(factors)
        value = value.astype(jnp.float32)
        scores = jnp.einsum("bhce,bhme->bhcm", gradient, value) + total_grad
        key_grad = jnp.einsum("bhcm,bhcd->bhmd", jnp.tril(scores), query)
        key_grad += jnp.einsum("bhme,bhde->bhmd", value, state) + total[:, :, None]
        scores = jnp.tril(jnp.einsum("bhcd,bhmd->bhcm", query, key))
        value_grad = jnp.einsum("bhcm,bhce->bhme", scores, gradient)
        value_grad += jnp.einsum("bhmd,bhde->bhme", key, state)
        state += jnp.einsum("bhcd,bhce->bhde", query, gradient)
        total += jnp.sum(query * total_grad, axis=2)
        return (state, total), (key_grad, value_grad)

    chunks = _chunks((query, key, value, factors, gradient, total_grad[..., None]))
    _, query_grad = jax.lax.scan(from_first, _empty(query), chunks)
    _, key_grads = jax.lax.scan(from_last, _empty(query), chunks, reverse=True)
    return tuple(_whole(x, query.shape[1]) for x in (query_grad, *key_grads))


def _empty(query: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A state [B, H, D, D] and its sum of features [B, H, D]."""
    batch, _, num_heads, width = query.shape
    return (
        jnp.zeros((batch, num_heads, width, width), jnp.float32),
        jnp.zeros((batch, num_heads, width), jnp.float32),
    )


def _chunks(arrays: Any) -> Any:
    """Splits [B, S, H, D] to [chunks, B, H, chunk, D]; what is padded comes last."""

    def split(x: jax.Array) -> jax.Array:
        size = min(CHUNK, x.shape[1])
        x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % size), (0, 0), (0, 0)))
        x = x.reshape(x.shape[0], -1, size, *x.shape[2:])
        return jnp.moveaxis(x, (1, 3), (0, 2))

    return jax.tree.map(split, arrays)


def _whole(x: jax.Array, length: int) -> jax.Array:
    """Joins [chunks, B, H, chunk, D] to [B, length, H, D]."""
    x = jnp.moveaxis(x, (0, 2), (1, 3))
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]
