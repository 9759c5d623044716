"""Light and dynamic convolution: shapes of results and declared costs.

Shapes: B batch, S length, d channels, H heads, K taps. An operand's leading axis may
be 1, shared by all examples; B is the longest.
"""

import math
from typing import Any

import jax


def forward_results(
    x: Any, weights: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shape of the output [B, S, d]."""
    batch = max(x.shape[0], weights.shape[0])
    return (jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype),)


def light_backward_results(
    x: Any, weights: Any, output_grad: Any, *, groups: int, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of x [B, S, d] and weights [groups, H, K]."""
    return _backward_results(x, weights, output_grad, groups)


def dynamic_backward_results(
    x: Any, weights: Any, output_grad: Any, **settings: Any
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the gradients of x [B, S, d] and weights [B, S, H, K]."""
    return _backward_results(x, weights, output_grad, _batch(x, weights, output_grad))


def forward_flops(x: Any, weights: Any, **settings: Any) -> int:
    """Algorithmic FLOPs; taps outside of the sequence count."""
    return _product_flops(x, weights)


def backward_flops(x: Any, weights: Any, output_grad: Any, **settings: Any) -> int:
    """Algorithmic FLOPs of both gradients."""
    return 2 * _product_flops(x, weights, output_grad)


def _backward_results(
    x: Any, weights: Any, output_grad: Any, weights_batch: int
) -> tuple[jax.ShapeDtypeStruct, ...]:
    batch = _batch(x, weights, output_grad)
    return (
        jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype),
        jax.ShapeDtypeStruct((weights_batch, *weights.shape[1:]), weights.dtype),
    )


def _product_flops(x: Any, weights: Any, *others: Any) -> int:
    batch = _batch(x, weights, *others)
    return 2 * batch * math.prod(x.shape[1:]) * weights.shape[-1]


def _batch(*operands: Any) -> int:
    return max(operand.shape[0] for operand in operands)
