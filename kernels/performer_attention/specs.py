"""Performer attention: signatures and declared costs.

Axes: b batch, t queries, s keys, h heads, d width of a head.
"""

from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

_OPERANDS = {
    "query": "b t h d",
    "key": "b s h d",
    "value": "b s h d",
    "mask": "b? s",  # on phi(key); [1, 0] for none
}
_SETTINGS = ("causal", "epsilon")

FORWARD = Signature(
    _OPERANDS,
    {
        "output": ResultSpec("b t h d", "query"),
        "denominator": ResultSpec("b h t", "float32"),
    },
    _SETTINGS,
    independent="h",
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
    independent="h",
)


def forward_flops(query: Any, key: Any, **_: Any) -> int:
    """Algorithmic FLOPs: each key is put into a D x D state, each query reads one.

    Causal or not; the denominators, a D-th of this, do not count.
    """
    batch, num_queries, num_heads, width = query.shape
    return 2 * batch * num_heads * (num_queries + key.shape[1]) * width**2


def backward_flops(query: Any, key: Any, **_: Any) -> int:
    """Algorithmic FLOPs: both products' gradients by both operands."""
    return 2 * forward_flops(query, key)
