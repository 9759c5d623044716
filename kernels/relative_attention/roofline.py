"""Lower bounds on the cycles of relative attention on a TPU."""

from collections.abc import Mapping
from typing import Any

from clinometer.kernels.relative_attention import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline

# Vector operations per logit. Forward: add the bias, update the maximum, subtract it,
# scale for the base-2 exponential, sum, and pack half a register for the product.
# Backward: bias, log-sum-exp, scale; subtract the mean from the weight's gradient,
# multiply by the weight; pack both; sum the bias's gradient. Of the masks, only that of
# segments counts: a comparison and a selection.
_OPERATIONS = {"forward": 5.5, "backward": 7.0}
_BIAS_OPERATIONS = {"forward": 1.0, "backward": 2.0}
_MASK_OPERATIONS = 2.0
_SKIPPED = 128  # Side of the smallest block that causal attention skips.


def forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the forward pass.

    Args:
        chip: the chip that runs the kernel.
        operands: arrays or their shapes, by name.
        settings: settings by name.
    """
    size = specs.FORWARD.bytes(operands, settings)
    return _roofline("forward", chip, operands, settings, size)


def backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the backward pass; see `forward`."""
    size = specs.BACKWARD.bytes(operands, settings)
    return _roofline("backward", chip, operands, settings, size)


def _roofline(
    pass_name: str,
    chip: chips.Chip,
    operands: Mapping[str, Any],
    settings: Mapping[str, Any],
    size: int,
) -> roofline.Roofline:
    query, key, bias = (operands[name] for name in ("query", "key", "bias"))
    causal, masked = settings["causal"], settings["masked"]
    batch, num_queries, num_heads, width = query.shape
    num_keys = key.shape[1]
    part = _attended_part(num_queries, num_keys) if causal else 1.0
    heads = batch * num_heads * part
    # Contracts over the width: a head of 64 fills half the rows of a 128-wide unit.
    logits = roofline.mxu_cycles(chip, num_keys, width, num_queries)
    # Contracts over keys (or queries): either the weights are stationary in the unit,
    # which is then full, or the values are, whichever takes less.
    values = min(
        roofline.mxu_cycles(chip, width, num_keys, num_queries),
        roofline.mxu_cycles(chip, num_queries, num_keys, width),
    )
    # Backward: logits and the weights' gradient, then three products over queries or
    # keys for the gradients of value, key and query.
    products = logits + values if pass_name == "forward" else 2 * logits + 3 * values
    scores = round(heads * num_queries * num_keys)
    operations = _OPERATIONS[pass_name] + _MASK_OPERATIONS * masked
    if not bias.shape[2]:
        operations -= _BIAS_OPERATIONS[pass_name]
    return roofline.Roofline(
        mxu=heads * products,
        vpu=roofline.vpu_cycles(scores, operations),
        eup=roofline.eup_cycles(scores),  # One exponential per logit.
        hbm=roofline.hbm_cycles(chip, size),
    )


def _attended_part(num_queries: int, num_keys: int) -> float:
    """Returns the fraction of 128 x 128 blocks that are not above the diagonal."""
    rows, columns = (-(-n // _SKIPPED) for n in (num_queries, num_keys))
    return sum(min(row + 1, columns) for row in range(rows)) / (rows * columns)
