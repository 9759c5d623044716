"""The least cycles of the Switch operations on a chip, from their formulas.

Shapes: G groups, N tokens a group, E experts, C slots an expert, d and f widths.
"""

from collections.abc import Mapping
import math
from typing import Any

import jax.numpy as jnp

from clinometer.kernels.switch import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import roofline

_SUBLANES = 8
# Vector operations on a logit. Forward: the largest, the difference from it, sums of
# weights, probabilities and their sums, the first of the largest (a comparison, a
# selection, a minimum), the choice as 0 and 1, and its place (a selection, a sum).
_FORWARD_OPERATIONS = 11
# Backward: the largest and the difference from it, the probability, its product with a
# gradient and their sum, the gradient (a sum, a product), the chosen expert's part (a
# comparison, a selection, a sum), the mask.
_BACKWARD_OPERATIONS = 11


def route_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of `switch_route`; places are counted by products with 0 and 1.

    Args:
        chip: that runs it.
        operands: their shapes, by name.
        settings: of the kernel.
    """
    logits = operands["logits"]
    groups, num_tokens, num_experts = logits.shape
    tiles = math.ceil(num_tokens / lanes.LANES)
    rows = groups * tiles * num_experts
    size = specs.ROUTE_FORWARD.bytes(operands, settings)
    return roofline.Roofline(
        mxu=roofline.mxu_cycles(chip, rows, lanes.LANES, lanes.LANES),
        vpu=roofline.vpu_cycles(_elements(logits), _FORWARD_OPERATIONS),
        # An exponential of each logit; a logarithm and a reciprocal of each token.
        eup=roofline.eup_cycles(_elements(logits) + 2 * groups * num_tokens),
        hbm=roofline.hbm_cycles(chip, size),
    )


def route_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of the gradient of `switch_route`."""
    logits = operands["logits"]
    groups, num_tokens, _ = logits.shape
    size = specs.ROUTE_BACKWARD.bytes(operands, settings)
    return roofline.Roofline(
        vpu=roofline.vpu_cycles(_elements(logits), _BACKWARD_OPERATIONS),
        # An exponential of each logit and a logarithm of each token.
        eup=roofline.eup_cycles(_elements(logits) + groups * num_tokens),
        hbm=roofline.hbm_cycles(chip, size),
    )


def dispatch_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of `switch_dispatch`, which only moves rows."""
    size = specs.DISPATCH_FORWARD.bytes(operands, settings)
    return roofline.Roofline(hbm=roofline.hbm_cycles(chip, size))


def dispatch_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of the gradient of `switch_dispatch`, which is `switch_combine`."""
    del settings
    return _combined(chip, operands["y_grad"], operands["slot"], operands["gate"])


def combine_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of `switch_combine`: a token's row is read, times its gate, and written."""
    del settings
    return _combined(chip, operands["y"], operands["slot"], operands["gate"])


def combine_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of the gradients of `switch_combine`.

    Rows and gradients of each token are read, y's gradient is written; a product by the
    gate, and a product and a sum for the gate's gradient.
    """
    del settings
    y, slot, gate = (operands[name] for name in ("y", "slot", "gate"))
    output_grad = operands["output_grad"]
    size = 2 * _bytes(output_grad) + _bytes(y, slot, gate, gate)
    return roofline.Roofline(
        vpu=roofline.vpu_cycles(math.prod(output_grad.shape), 3),
        hbm=roofline.hbm_cycles(chip, size),
    )


def expert_matmul_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of `expert_matmul`: every token's row by its expert's matrix."""
    x, w = operands["x"], operands["w"]
    tokens = specs.tokens_here(x, settings["num_tokens"], settings["num_experts"])
    size = specs.EXPERT_MATMUL_FORWARD.bytes(operands, settings)
    return roofline.Roofline(
        mxu=roofline.mxu_cycles(chip, tokens, *w.shape[2:]),
        hbm=roofline.hbm_cycles(chip, size),
    )


def expert_matmul_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Of the gradients of `expert_matmul`.

    One product as wide as the forward one; in the other the tokens of an expert are the
    depth.
    """
    x, w = operands["x"], operands["w"]
    tokens = specs.tokens_here(x, settings["num_tokens"], settings["num_experts"])
    width, hidden = w.shape[2:]
    of_expert = math.ceil(tokens / w.shape[1])
    mxu = roofline.mxu_cycles(chip, tokens, hidden, width)
    mxu += w.shape[1] * roofline.mxu_cycles(chip, width, of_expert, hidden)
    size = specs.EXPERT_MATMUL_BACKWARD.bytes(operands, settings)
    return roofline.Roofline(mxu=mxu, hbm=roofline.hbm_cycles(chip, size))


def _combined(chip: chips.Chip, y: Any, slot: Any, gate: Any) -> roofline.Roofline:
    rows = math.prod(slot.shape) * y.shape[-1]
    size = 2 * rows * jnp.dtype(y.dtype).itemsize + _bytes(slot, gate)
    return roofline.Roofline(
        vpu=roofline.vpu_cycles(rows, 1), hbm=roofline.hbm_cycles(chip, size)
    )


def _elements(logits: Any) -> int:
    """Returns the logits, as many as their registers hold."""
    groups, num_tokens, num_experts = logits.shape
    rows = math.ceil(num_experts / _SUBLANES) * _SUBLANES
    return groups * rows * math.ceil(num_tokens / lanes.LANES) * lanes.LANES


def _bytes(*arrays: Any) -> int:
    return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in arrays)
