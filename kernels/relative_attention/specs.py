"""Signatures and declared FLOPs of relative attention.

Axes: b batch, t queries, s keys, h heads, d head width, r distances (T + S - 1).
"""

from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

_OPERANDS = {
    "query": "b t h d",
    "key": "b s h d",
    "value": "b s h d",
    "bias": "b? h r",  # [1, H, 0] for no bias
    "query_segments": "b? t",
    "key_segments": "b? s",
    "offset": "b?",
    "multiplier": "b? h t s",  # of the weights; [1, 0, 0, 0] for no dropout
}
_SETTINGS = ("causal", "masked", "groups")

FORWARD = Signature(
    _OPERANDS,
    {
        "output": ResultSpec("b t h d", "query"),
        "log_sum_exp": ResultSpec("b h t", "float32"),
    },
    _SETTINGS,
    divisible=("h",),
)
BACKWARD = Signature(
    {
        **_OPERANDS,
        "output": "b t h d",
        "log_sum_exp": "b h t",
        "output_grad": "b t h d",
    },
    {
        "query_grad": ResultSpec("b t h d", "query"),
        "key_grad": ResultSpec("b s h d", "key"),
        "value_grad": ResultSpec("b s h d", "value"),
        "bias_grad": ResultSpec("groups h r", "float32"),
    },
    _SETTINGS,
    divisible=("h",),
)

# Forward: the products for logits and outputs. Backward: the gradients with respect to
# both operands of each.
_PRODUCTS = {"forward": 2, "backward": 4}


def forward_flops(query: Any, key: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs; causal attention counts as dense, as in papers.

    Args:
        query: [B, T, H, D], or its shape.
        key: [B, S, H, D], or its shape.
    """
    return _PRODUCTS["forward"] * _product_flops(query, key)


def backward_flops(query: Any, key: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs without recomputation; see `forward_flops`."""
    return _PRODUCTS["backward"] * _product_flops(query, key)


def _product_flops(query: Any, key: Any) -> int:
    batch, num_queries, num_heads, width = query.shape
    return 2 * batch * num_heads * num_queries * key.shape[1] * width
