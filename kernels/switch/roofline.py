"""Lower bounds on the cycles of the Switch operations on a TPU.

Shapes: G groups, N tokens per group, E experts, C slots per expert, d and f widths.
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
# Vector operations per logit. Forward: maximum, difference from it, sum of weights,
# probability and its sum, index of the first maximum (comparison, selection, minimum),
# the choice as 0 or 1, and its position (selection, sum).
_FORWARD_OPERATIONS = 11
# Backward: maximum and difference from it, probability, its product with a gradient and
# their sum, the gradient (sum, product), the part of the chosen expert (comparison,
# selection, sum), the mask.
_BACKWARD_OPERATIONS = 11


def route_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `switch_route`, which counts positions by matmuls.

    Args:
        chip: the chip that runs the kernel.
        operands: arrays or their shapes, by name.
        settings: settings by name.
    """
    logits = operands["logits"]
    groups, num_tokens, num_experts = logits.shape
    tiles = math.ceil(num_tokens / lanes.LANES)
    rows = groups * tiles * num_experts
    size = specs.ROUTE_FORWARD.bytes(operands, settings)
    return roofline.Roofline(
        mxu=roofline.mxu_cycles(chip, rows, lanes.LANES, lanes.LANES),
        vpu=roofline.vpu_cycles(_elements(logits), _FORWARD_OPERATIONS),
        # An exponential per logit; a logarithm and a reciprocal per token.
        eup=roofline.eup_cycles(_elements(logits) + 2 * groups * num_tokens),
        hbm=roofline.hbm_cycles(chip, size),
    )


def route_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the gradient of `switch_route`; see `route_forward`."""
    logits = operands["logits"]
    groups, num_tokens, _ = logits.shape
    size = specs.ROUTE_BACKWARD.bytes(operands, settings)
    return roofline.Roofline(
        vpu=roofline.vpu_cycles(_elements(logits), _BACKWARD_OPERATIONS),
        # An exponential per logit and a logarithm per token.
        eup=roofline.eup_cycles(_elements(logits) + groups * num_tokens),
        hbm=roofline.hbm_cycles(chip, size),
    )


def dispatch_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `switch_dispatch`; see `route_forward`."""
    size = specs.DISPATCH_FORWARD.bytes(operands, settings)
    return roofline.Roofline(hbm=roofline.hbm_cycles(chip, size))


def dispatch_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `switch_dispatch`'s gradient; see `route_forward`."""
    del settings
    return _combined(chip, operands["y_grad"], operands["slot"], operands["gate"])


def combine_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `switch_combine`; see `route_forward`."""
    del settings
    return _combined(chip, operands["y"], operands["slot"], operands["gate"])


def combine_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `switch_combine`'s gradients; see `route_forward`.

    Each token's row and gradient are read and y's gradient is written. Per element, one
    product with the gate, and a product and a sum for the gate's gradient.
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
    """Returns the roofline of `expert_matmul`; see `route_forward`."""
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
    """Returns the roofline of `expert_matmul`'s gradients; see `route_forward`.

    The matmul for x's gradient has as many rows as the forward one; that for w's
    gradient contracts over the tokens of an expert.
    """
    x, w = operands["x"], operands["w"]
    tokens = specs.tokens_here(x, settings["num_tokens"], settings["num_experts"])
    width, hidden = w.shape[2:]
    of_expert = math.ceil(tokens / w.shape[1])
    mxu = roofline.mxu_cycles(chip, tokens, hidden, width)
    mxu += w.shape[1] * roofline.mxu_cycles(chip, width, of_expert, hidden)
    size = specs.EXPERT_MATMUL_BACKWARD.bytes(operands, settings)
    return roofline.Roofline(mxu=mxu, hbm=roofline.hbm_cycles(chip, size))


def feed_forward_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of `expert_feed_forward`; see `route_forward`.

    The hidden rows do not leave the chip.
    """
    x, wi, wo = (operands[name] for name in ("x", "wi", "wo"))
    size = _bytes(x, x, wi, wo, *_of_slots(operands))
    return roofline.Roofline(
        mxu=_rows_products(chip, operands, settings, 2),
        hbm=roofline.hbm_cycles(chip, size),
    )


def feed_forward_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of its gradients; see `feed_forward_forward`.

    The products for the hidden rows, which are computed again, for their gradient and
    for x's have as many rows as tokens; those for wi's and wo's gradients contract over
    the tokens of an expert.
    """
    x, wi, wo = (operands[name] for name in ("x", "wi", "wo"))
    tokens = specs.tokens_here(x, settings["num_tokens"], settings["num_experts"])
    num_experts, width, hidden = wi.shape[1:]
    of_expert = math.ceil(tokens / num_experts)
    mxu = _rows_products(chip, operands, settings, 3)
    mxu += num_experts * (
        roofline.mxu_cycles(chip, width, of_expert, hidden)
        + roofline.mxu_cycles(chip, hidden, of_expert, width)
    )
    size = _bytes(x, x, x, wi, wo, wi, wo, *_of_slots(operands))
    return roofline.Roofline(mxu=mxu, hbm=roofline.hbm_cycles(chip, size))


def _of_slots(operands: Mapping[str, Any]) -> list[Any]:
    """Returns the small operands; the mask of dropout is drawn of the last two."""
    return [operands[name] for name in ("counts", "seeds", "column_keys")]


def _rows_products(
    chip: chips.Chip,
    operands: Mapping[str, Any],
    settings: Mapping[str, Any],
    products: int,
) -> float:
    """Returns the cycles of products of the tokens with wi or wo."""
    x, wi = operands["x"], operands["wi"]
    tokens = specs.tokens_here(x, settings["num_tokens"], settings["num_experts"])
    return products * roofline.mxu_cycles(chip, tokens, *wi.shape[2:])


def _combined(chip: chips.Chip, y: Any, slot: Any, gate: Any) -> roofline.Roofline:
    rows = math.prod(slot.shape) * y.shape[-1]
    size = 2 * rows * jnp.dtype(y.dtype).itemsize + _bytes(slot, gate)
    return roofline.Roofline(
        vpu=roofline.vpu_cycles(rows, 1), hbm=roofline.hbm_cycles(chip, size)
    )


def _elements(logits: Any) -> int:
    """Returns the number of logits, padded to whole registers."""
    groups, num_tokens, num_experts = logits.shape
    rows = math.ceil(num_experts / _SUBLANES) * _SUBLANES
    return groups * rows * math.ceil(num_tokens / lanes.LANES) * lanes.LANES


def _bytes(*arrays: Any) -> int:
    return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in arrays)
