"""The least cycles of the convolutions on a TPU, from their formulas."""

from collections.abc import Mapping
import math
from typing import Any

from clinometer.kernels.convolution import specs
from clinometer.kernels.convolution import tpu
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import roofline


def light_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the least cycles of light_conv's forward pass.

    Args:
        chip: that runs it.
        operands: their shapes, by name.
        settings: of the kernel.
    """
    return _light(chip, operands, specs.LIGHT_FORWARD.bytes(operands, settings), 1)


def light_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns those of its backward pass: x's gradient and the weights'."""
    return _light(chip, operands, specs.LIGHT_BACKWARD.bytes(operands, settings), 2)


def dynamic_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the least cycles of dynamic_conv's forward pass."""
    return _dynamic(chip, operands, specs.DYNAMIC_FORWARD.bytes(operands, settings), 1)


def dynamic_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns those of its backward pass."""
    size = specs.DYNAMIC_BACKWARD.bytes(operands, settings)
    return _dynamic(chip, operands, size, 2)


def _light(
    chip: chips.Chip, operands: Mapping[str, Any], size: int, products: int
) -> roofline.Roofline:
    x, weights = operands["x"], operands["weights"]
    num_heads, taps = weights.shape[1:]
    hbm = roofline.hbm_cycles(chip, size)
    if tpu.uses_bands(num_heads, x.shape[2], taps):
        return roofline.Roofline(mxu=products * _bands(chip, x, num_heads), hbm=hbm)
    # A product and a sum for each tap.
    return roofline.Roofline(
        vpu=products * roofline.vpu_cycles(math.prod(x.shape), 2 * taps), hbm=hbm
    )


def _dynamic(
    chip: chips.Chip, operands: Mapping[str, Any], size: int, products: int
) -> roofline.Roofline:
    x = operands["x"]
    batch, length, num_heads, _ = operands["weights"].shape
    # A band is masked and converted; so is what gives the weights' gradients.
    elements = batch * length * num_heads * lanes.LANES
    return roofline.Roofline(
        mxu=products * _bands(chip, x, num_heads),
        vpu=products * roofline.vpu_cycles(elements, 2),
        hbm=roofline.hbm_cycles(chip, size),
    )


def _bands(chip: chips.Chip, x: Any, num_heads: int) -> float:
    """Cycles of every head's bands times windows, a row for each position."""
    batch, length, channels = x.shape
    tile = lanes.tile_lanes(lanes.padded_width(channels // num_heads))
    depth = lanes.LANES  # of a window
    return batch * num_heads * roofline.mxu_cycles(chip, length, depth, tile)
