"""Lower bounds on the cycles of the convolutions on a TPU."""

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
    """Returns the roofline of light_conv's forward pass.

    Args:
        chip: the chip that runs the kernel.
        operands: arrays or their shapes, by name.
        settings: settings by name.
    """
    return _light(chip, operands, specs.LIGHT_FORWARD.bytes(operands, settings), 1)


def light_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of light_conv's backward pass; see `light_forward`."""
    return _light(chip, operands, specs.LIGHT_BACKWARD.bytes(operands, settings), 2)


def dynamic_forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of dynamic_conv's forward pass; see `light_forward`."""
    return _dynamic(chip, operands, specs.DYNAMIC_FORWARD.bytes(operands, settings), 1)


def dynamic_backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of dynamic_conv's backward pass; see `light_forward`."""
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
    # A product and a sum per tap.
    return roofline.Roofline(
        vpu=products * roofline.vpu_cycles(math.prod(x.shape), 2 * taps), hbm=hbm
    )


def _dynamic(
    chip: chips.Chip, operands: Mapping[str, Any], size: int, products: int
) -> roofline.Roofline:
    x = operands["x"]
    batch, length, num_heads, _ = operands["weights"].shape
    # Bands are masked and converted, and so are the products for weight gradients.
    elements = batch * length * num_heads * lanes.LANES
    return roofline.Roofline(
        mxu=products * _bands(chip, x, num_heads),
        vpu=products * roofline.vpu_cycles(elements, 2),
        hbm=roofline.hbm_cycles(chip, size),
    )


def _bands(chip: chips.Chip, x: Any, num_heads: int) -> float:
    """Returns the cycles of all heads' products of bands and windows."""
    batch, length, channels = x.shape
    tile = lanes.tile_lanes(lanes.padded_width(channels // num_heads))
    depth = lanes.LANES  # of a window
    return batch * num_heads * roofline.mxu_cycles(chip, length, depth, tile)
