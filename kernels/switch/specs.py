"""Signatures and declared FLOPs of the Switch operations.

Axes: b groups (the batch), n tokens per group, e experts, c slots per expert, d and f
widths, m the hidden width of a feed-forward layer.
"""

from typing import Any

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

ROUTE_FORWARD = Signature(
    {"logits": "b n e", "mask": "b? n"},
    # The fields of a `Route`, in order.
    {
        "expert_index": ResultSpec("b n", "int32"),
        "slot": ResultSpec("b n", "int32"),
        "gate": ResultSpec("b n", "float32"),
        "counts": ResultSpec("b e", "int32"),
        "load": ResultSpec("b e", "float32"),
        "probability": ResultSpec("b e", "float32"),
        "z": ResultSpec("b", "float32"),
    },
    ("capacity",),
)
ROUTE_BACKWARD = Signature(
    {
        "logits": "b n e",
        "mask": "b? n",
        "expert_index": "b n",
        "gate": "b n",
        "gate_grad": "b n",
        "probability_grad": "b e",
        "z_grad": "b",
    },
    {"logits_grad": ResultSpec("b n e", "logits")},
)

DISPATCH_FORWARD = Signature(
    {"x": "b n d", "slot": "b n"},
    {"y": ResultSpec("b num_experts capacity d", "x")},
    ("num_experts", "capacity"),
)
DISPATCH_BACKWARD = Signature(
    {"y_grad": "b e c d", "slot": "b n", "gate": "b? n"},
    {"x_grad": ResultSpec("b n d", "y_grad")},
)
COMBINE_FORWARD = Signature(
    {"y": "b e c d", "slot": "b n", "gate": "b n"},
    {"output": ResultSpec("b n d", "y")},
)
COMBINE_BACKWARD = Signature(
    {"y": "b e c d", "slot": "b n", "gate": "b n", "output_grad": "b n d"},
    {"y_grad": ResultSpec("b e c d", "y"), "gate_grad": ResultSpec("b n", "float32")},
)

_MATMUL_SETTINGS = ("num_tokens", "num_experts", "groups")


def expert_matmul(hidden: str | None) -> tuple[Signature, Signature]:
    """Returns the signatures of both passes of a product with the experts' matrices.

    Args:
        hidden: the width that is the hidden one of a feed-forward layer, "d" or "f".
            Its name in the signatures is "m", and the axes of `shard_over` that shard
            heads shard it too. None for neither.
    """

    def axes(text: str) -> str:
        return text.replace(hidden, "m") if hidden else text

    forward = {
        "x": axes("b e c d"),
        "w": "b? e " + axes("d f"),
        "counts": "b e",
    }
    divisible = ("e", "m") if hidden else ("e",)
    return (
        Signature(
            forward,
            {"y": ResultSpec(axes("b e c f"), "x")},
            _MATMUL_SETTINGS,
            divisible=divisible,
        ),
        Signature(
            {**forward, "y_grad": axes("b e c f")},
            {
                "x_grad": ResultSpec(axes("b e c d"), "x"),
                "w_grad": ResultSpec("groups e " + axes("d f"), "w"),
            },
            _MATMUL_SETTINGS,
            divisible=divisible,
        ),
    )


EXPERT_MATMUL_FORWARD, EXPERT_MATMUL_BACKWARD = expert_matmul(None)

_FEED_FORWARD = {
    "x": "b e c d",
    "wi": "b? e d m",
    "wo": "b? e m d",
    "counts": "b e",
    # Without dropout, these are empty. Forms in jnp use `keep`, and TPU kernels draw
    # their own mask of the other two.
    "keep": "b e c m",
    "seeds": "b e",
    "column_keys": "b? m",
}
_FEED_FORWARD_SETTINGS = (*_MATMUL_SETTINGS, "dropout_rate")
FEED_FORWARD_FORWARD = Signature(
    _FEED_FORWARD,
    # The hidden rows, after activation and dropout, are a residual.
    {"y": ResultSpec("b e c d", "x"), "hidden": ResultSpec("b e c m", "x")},
    _FEED_FORWARD_SETTINGS,
    divisible=("e", "m"),
)
FEED_FORWARD_BACKWARD = Signature(
    {**_FEED_FORWARD, "hidden": "b e c m", "y_grad": "b e c d"},
    {
        "x_grad": ResultSpec("b e c d", "x"),
        "wi_grad": ResultSpec("groups e d m", "wi"),
        "wo_grad": ResultSpec("groups e m d", "wo"),
    },
    _FEED_FORWARD_SETTINGS,
    divisible=("e", "m"),
)


def no_flops(**_: Any) -> int:
    """Returns 0: routing, dispatch and combine have no matrix products."""
    return 0


def tokens_here(x: Any, num_tokens: int, num_experts: int) -> int:
    """Returns the number of tokens of all groups, scaled by the share of experts in x.

    Args:
        x: [G, E, ...], of all experts or of a device's shard of them.
        num_tokens: tokens per group.
        num_experts: the number of all experts.
    """
    return x.shape[0] * num_tokens * x.shape[1] // num_experts


def expert_matmul_forward_flops(
    x: Any, w: Any, num_tokens: int, num_experts: int, **_: Any
) -> int:
    """Returns the algorithmic FLOPs: one product per token, not per slot.

    Args:
        x: [G, E, C, d], or its shape.
        w: [1 or G, E, d, f], or its shape.
        num_tokens: tokens per group.
        num_experts: the number of all experts.
    """
    tokens = tokens_here(x, num_tokens, num_experts)
    return 2 * tokens * w.shape[2] * w.shape[3]


def expert_matmul_backward_flops(**given: Any) -> int:
    """Returns the FLOPs of both gradients; see `expert_matmul_forward_flops`."""
    return 2 * expert_matmul_forward_flops(**given)


def feed_forward_forward_flops(x: Any, wi: Any, wo: Any, **given: Any) -> int:
    """Returns the algorithmic FLOPs: those of both products.

    Args:
        x: [G, E, C, d], or its shape.
        wi: [1 or G, E, d, f], or its shape.
        wo: [1 or G, E, f, d], or its shape.
        **given: see `expert_matmul_forward_flops`.
    """
    return sum(expert_matmul_forward_flops(x, w, **given) for w in (wi, wo))


def feed_forward_backward_flops(**given: Any) -> int:
    """Returns the FLOPs of all gradients; see `feed_forward_forward_flops`."""
    return 2 * feed_forward_forward_flops(**given)
