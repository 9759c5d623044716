"""Relative attention: shapes of results and declared costs.

Shapes: B batch, T queries, S keys, H heads, D width of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp

# Products of the forward pass: logits and weighted values. The backward pass needs the
# gradients by both operands of each.
_PRODUCTS = {"forward": 2, "backward": 4}


def forward_results(
    query: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the output [B, T, H, D] and the log-sum-exp [B, H, T]."""
    batch, num_queries, num_heads, _ = query.shape
    return (
        jax.ShapeDtypeStruct(query.shape, query.dtype),
        jax.ShapeDtypeStruct((batch, num_heads, num_queries), jnp.float32),
    )


def backward_results(
    query: Any, key: Any, value: Any, bias: Any, *_: Any, groups: int, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of query, key, value and bias."""
    return (
        *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (query, key, value)),
        jax.ShapeDtypeStruct((groups, *bias.shape[1:]), jnp.float32),
    )


def forward_flops(query: Any, key: Any, *_: Any, **settings: Any) -> int:
    """Algorithmic FLOPs; causal attention counts dense, as in the papers."""
    return _PRODUCTS["forward"] * _product_flops(query, key)


def backward_flops(query: Any, key: Any, *_: Any, **settings: Any) -> int:
    """Algorithmic FLOPs; recomputed weights do not count."""
    return _PRODUCTS["backward"] * _product_flops(query, key)


def _product_flops(query: Any, key: Any) -> int:
    batch, num_queries, num_heads, width = query.shape
    return 2 * batch * num_heads * num_queries * key.shape[1] * width
