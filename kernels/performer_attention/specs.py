"""Signatures and declared FLOPs of Performer attention.

Axes: b batch, t queries, s keys, h heads, d head width.
"""

from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

_OPERANDS = {
    "query": "b t h d",
    "key": "b s h d",
    "value": "b s h d",
    "mask": "b? s",  # of phi(key); [1, 0] for no mask
}
_SETTINGS = ("causal", "epsilon")

FORWARD = Signature(
    _OPERANDS,
    {
        "output": ResultSpec("b t h d", "query"),
        "denominator": ResultSpec("b h t", "float32"),
    },
    _SETTINGS,
    divisible=("h",),
)
BACKWARD = Signature(
    {
        **_OPERANDS,
        "output": "b t h d",
        "denominator": "b h t",
        "output_grad": "b t h d",
    },
    {
        "query_grad": ResultSpec("b t h d", "query"),
        "key_grad": ResultSpec("b s h d", "key"),
        "value_grad": ResultSpec("b s h d", "value"),
    },
    _SETTINGS,
    divisible=("h",),
)


def forward_flops(query: Any, key: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs.

    Each key is added to a D x D state and each query reads one, whether causal or not.
    The denominators (1/D of that) are not counted.

    Args:
        query: [B, T, H, D], or its shape.
        key: [B, S, H, D], or its shape.
    """
    batch, num_queries, num_heads, width = query.shape
    return 2 * batch * num_heads * (num_queries + key.shape[1]) * width**2


def backward_flops(query: Any, key: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs of all gradients; see `forward_flops`."""
    return 2 * forward_flops(query, key)
