"""The least cycles of relative attention on a TPU, from its formula."""

from collections.abc import Mapping
from typing import Any

from clinometer.kernels.relative_attention import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline

# Vector operations on a logit. Forward: the bias is added, the maximum kept, the
# maximum subtracted, scaled for the exponential of base 2, summed, and half of a
# register packed for the product. Backward: bias, log-sum-exp, scale; the mean is
# subtracted from the weight's gradient, the weight multiplied; both packed; the bias'
# gradient summed. Of what masks, only that of segments: compared and selected.
_OPERATIONS = {"forward": 5.5, "backward": 7.0}
_BIAS_OPERATIONS = {"forward": 1.0, "backward": 2.0}
_MASK_OPERATIONS = 2.0
_SKIPPED = 128  # queries and keys of the finest block that causal attention skips


def forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the least cycles of the forward pass.

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
    """Returns the least cycles of the backward pass; arguments as `forward`."""
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
    # Sums over the width: a 64-wide head fills half of the rows of a 128-wide unit.
    logits = roofline.mxu_cycles(chip, num_keys, width, num_queries)
    # Sums over keys (or queries): weights stay in the unit and the head's width moves
    # past them, so that nothing is left empty; or values stay, if that is less.
    values = min(
        roofline.mxu_cycles(chip, width, num_keys, num_queries),
        roofline.mxu_cycles(chip, num_queries, num_keys, width),
    )
    # Backward: logits again, and the weights' gradient; then three sums over queries or
    # keys, for the gradients of value, key and query.
    products = logits + values if pass_name == "forward" else 2 * logits + 3 * values
    scores = round(heads * num_queries * num_keys)
    operations = _OPERATIONS[pass_name] + _MASK_OPERATIONS * masked
    if not bias.shape[2]:
        operations -= _BIAS_OPERATIONS[pass_name]
    return roofline.Roofline(
        mxu=heads * products,
        vpu=roofline.vpu_cycles(scores, operations),
        eup=roofline.eup_cycles(scores),  # one exponential each
        hbm=roofline.hbm_cycles(chip, size),
    )


def _attended_part(num_queries: int, num_keys: int) -> float:
    """Returns the part of the 128 x 128 blocks that are not above the diagonal."""
    rows, columns = (-(-n // _SKIPPED) for n in (num_queries, num_keys))
    return sum(min(row + 1, columns) for row in range(rows)) / (rows * columns)
