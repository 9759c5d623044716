"""Signatures and declared FLOPs of the Mixture of Softmaxes.

Axes: b batch, t positions, d width, k components, v vocabulary.
"""

from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

_OPERANDS = {
    "h": "b t d",
    "mixture": "b? k d",
    "context": "b? k d d",
    "table": "b? v d",
}
_SETTINGS = ("chunk_tokens", "groups")

FORWARD = Signature(
    _OPERANDS,
    {
        "output": ResultSpec("b t v", "float32"),
        # The log-sum-exp of each softmax's logits.
        "normalizer": ResultSpec("b t k", "float32"),
    },
    _SETTINGS,
)
BACKWARD = Signature(
    {
        **_OPERANDS,
        "output": "b t v",
        "normalizer": "b t k",
        "output_grad": "b t v",
    },
    {
        "h_grad": ResultSpec("b t d", "h"),
        "mixture_grad": ResultSpec("groups k d", "mixture"),
        "context_grad": ResultSpec("groups k d d", "context"),
        "table_grad": ResultSpec("groups v d", "table"),
    },
    _SETTINGS,
)


def forward_flops(h: Any, mixture: Any, table: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs, those of the three products.

    Args:
        h: [B, T, d], or its shape.
        mixture: [1 or B, K, d], or its shape.
        table: [1 or B, V, d], or its shape.
    """
    batch, length, width = h.shape
    columns = 1 + width + table.shape[1]
    return 2 * batch * length * mixture.shape[1] * width * columns


def backward_flops(**given: Any) -> int:
    """Returns the algorithmic FLOPs of all gradients; see `forward_flops`."""
    return 2 * forward_flops(**given)
