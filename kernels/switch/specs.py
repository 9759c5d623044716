"""Switch operations: shapes of results and declared costs.

Shapes: G groups, N tokens a group, E experts, C slots an expert, d and f widths.
"""

from typing import Any

import jax
import jax.numpy as jnp


def route_forward_results(
    logits: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of a `Route`'s fields, in their order."""
    groups, num_tokens, num_experts = logits.shape
    tokens, experts = (groups, num_tokens), (groups, num_experts)
    return (
        jax.ShapeDtypeStruct(tokens, jnp.int32),  # expert_index
        jax.ShapeDtypeStruct(tokens, jnp.int32),  # slot
        jax.ShapeDtypeStruct(tokens, jnp.float32),  # gate
        jax.ShapeDtypeStruct(experts, jnp.int32),  # counts
        jax.ShapeDtypeStruct(experts, jnp.float32),  # load
        jax.ShapeDtypeStruct(experts, jnp.float32),  # probability
        jax.ShapeDtypeStruct((groups,), jnp.float32),  # z
    )


def route_backward_results(
    logits: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shape of the gradient of the logits."""
    return (jax.ShapeDtypeStruct(logits.shape, logits.dtype),)


def dispatch_results(
    x: Any, slot: Any, *, num_experts: int, capacity: int, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shape of the rows by slot, [G, E, C, d]."""
    groups, _, width = x.shape
    shape = (groups, num_experts, capacity, width)
    return (jax.ShapeDtypeStruct(shape, x.dtype),)


def combine_results(
    y: Any, slot: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shape of the rows by token, [G, N, d]."""
    return (jax.ShapeDtypeStruct((*slot.shape, y.shape[-1]), y.dtype),)


def combine_backward_results(
    y: Any, slot: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of y and of the gate."""
    return (
        jax.ShapeDtypeStruct(y.shape, y.dtype),
        jax.ShapeDtypeStruct(slot.shape, jnp.float32),
    )


def expert_matmul_forward_results(
    x: Any, w: Any, *_: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shape of the products, [G, E, C, f]."""
    return (jax.ShapeDtypeStruct((*x.shape[:3], w.shape[3]), x.dtype),)


def expert_matmul_backward_results(
    x: Any, w: Any, *_: Any, groups: int, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of x and w."""
    return (
        jax.ShapeDtypeStruct(x.shape, x.dtype),
        jax.ShapeDtypeStruct((groups, *w.shape[1:]), w.dtype),
    )


def no_flops(*_: Any, **settings: Any) -> int:
    """Routing and the moving of rows hold no matrix products."""
    return 0


def tokens_here(x: Any, num_tokens: int, num_experts: int) -> int:
    """Returns the tokens of all groups, in parts of the experts that x [G, E, ...] has.

    Args:
        x: of all experts, or of a device's part of them.
        num_tokens: tokens a group.
        num_experts: all experts.
    """
    return x.shape[0] * num_tokens * x.shape[1] // num_experts


def expert_matmul_forward_flops(
    x: Any, w: Any, *_: Any, num_tokens: int, num_experts: int, **settings: Any
) -> int:
    """Algorithmic FLOPs: one product a token, however many slots there are."""
    tokens = tokens_here(x, num_tokens, num_experts)
    return 2 * tokens * w.shape[2] * w.shape[3]


def expert_matmul_backward_flops(x: Any, w: Any, *_: Any, **settings: Any) -> int:
    """Algorithmic FLOPs: the gradients by both operands."""
    return 2 * expert_matmul_forward_flops(x, w, **settings)
