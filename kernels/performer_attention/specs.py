"""Performer attention: shapes of results and declared costs.

Shapes: B batch, T queries, S keys, H heads, D width of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp


def forward_results(
    query: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the output [B, T, H, D] and the denominator [B, H, T]."""
    batch, num_queries, num_heads, _ = query.shape
    return (
        jax.ShapeDtypeStruct(query.shape, query.dtype),
        jax.ShapeDtypeStruct((batch, num_heads, num_queries), jnp.float32),
    )


def backward_results(
    query: Any, key: Any, value: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of query, key and value."""
    return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (query, key, value))


def forward_flops(query: Any, key: Any, *_: Any, **settings: Any) -> int:
    """Algorithmic FLOPs: each key is put into a D x D state, each query reads one.

    Causal or not; the denominators, a D-th of this, do not count.
    """
    batch, num_queries, num_heads, width = query.shape
    return 2 * batch * num_heads * (num_queries + key.shape[1]) * width**2


def backward_flops(query: Any, key: Any, *_: Any, **settings: Any) -> int:
    """Algorithmic FLOPs: both products' gradients by both operands."""
    return 2 * forward_flops(query, key)
