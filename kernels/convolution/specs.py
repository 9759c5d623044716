"""Signatures and declared FLOPs of the convolutions.

Axes: b batch, s length, h heads of d channels each, k taps.
"""

import math
from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

_X, _LIGHT_WEIGHTS, _DYNAMIC_WEIGHTS = "b s (h d)", "b? h k", "b s h k"
_OUTPUT = {"output": ResultSpec(_X, "x")}
_LIGHT_SETTINGS = ("causal", "groups")

LIGHT_FORWARD = Signature(
    {"x": _X, "weights": _LIGHT_WEIGHTS}, _OUTPUT, _LIGHT_SETTINGS, divisible=("h",)
)
LIGHT_BACKWARD = Signature(
    {"x": _X, "weights": _LIGHT_WEIGHTS, "output_grad": _X},
    {
        "x_grad": ResultSpec(_X, "x"),
        "weights_grad": ResultSpec("groups h k", "weights"),
    },
    _LIGHT_SETTINGS,
    divisible=("h",),
)
DYNAMIC_FORWARD = Signature(
    {"x": _X, "weights": _DYNAMIC_WEIGHTS}, _OUTPUT, ("causal",), divisible=("h",)
)
DYNAMIC_BACKWARD = Signature(
    {"x": _X, "weights": _DYNAMIC_WEIGHTS, "output_grad": _X},
    {
        "x_grad": ResultSpec(_X, "x"),
        "weights_grad": ResultSpec(_DYNAMIC_WEIGHTS, "weights"),
    },
    ("causal",),
    divisible=("h",),
)


def forward_flops(x: Any, weights: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs, including taps outside the sequence.

    Args:
        x: [B, S, d], or its shape.
        weights: [..., H, K], or its shape.
    """
    return 2 * math.prod(x.shape) * weights.shape[-1]


def backward_flops(x: Any, weights: Any, **_: Any) -> int:
    """Returns the algorithmic FLOPs of both gradients; see `forward_flops`."""
    return 2 * forward_flops(x, weights)
