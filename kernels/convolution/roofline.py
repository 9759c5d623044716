"""The least cycles of the convolutions on a TPU, from their formulas."""

import math
from typing import Any

from clinometer.kernels.convolution import specs
from clinometer.kernels.convolution import tpu
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import roofline


def light_forward(chip: chips.Chip, *shapes: Any, **settings: Any) -> roofline.Roofline:
    """Returns the least cycles of light_conv's forward pass.

    Args:
        chip: that runs it.
        *shapes: of the operands.
        **settings: of the kernel.
    """
    return _light(chip, shapes, specs.forward_results(*shapes, **settings), 1)


def light_backward(
    chip: chips.Chip, *shapes: Any, **settings: Any
) -> roofline.Roofline:
    """Returns those of its backward pass: x's gradient and the weights'."""
    return _light(chip, shapes, specs.light_backward_results(*shapes, **settings), 2)


def dynamic_forward(
    chip: chips.Chip, *shapes: Any, **settings: Any
) -> roofline.Roofline:
    """Returns the least cycles of dynamic_conv's forward pass."""
    return _dynamic(chip, shapes, specs.forward_results(*shapes, **settings), 1)


def dynamic_backward(
    chip: chips.Chip, *shapes: Any, **settings: Any
) -> roofline.Roofline:
    """Returns those of its backward pass."""
    results = specs.dynamic_backward_results(*shapes, **settings)
    return _dynamic(chip, shapes, results, 2)


def _light(
    chip: chips.Chip, shapes: tuple[Any, ...], results: tuple[Any, ...], products: int
) -> roofline.Roofline:
    num_heads, taps = shapes[1].shape[1:]
    channels = results[0].shape[2]
    hbm = _hbm(chip, (*shapes, *results))
    if tpu.uses_bands(num_heads, channels, taps):
        return roofline.Roofline(mxu=products * _bands(chip, shapes, results), hbm=hbm)
    # A product and a sum for each tap.
    elements = math.prod(results[0].shape)
    return roofline.Roofline(
        vpu=products * roofline.vpu_cycles(elements, 2 * taps), hbm=hbm
    )


def _dynamic(
    chip: chips.Chip, shapes: tuple[Any, ...], results: tuple[Any, ...], products: int
) -> roofline.Roofline:
    batch, length, _ = results[0].shape
    num_heads = shapes[1].shape[2]
    # A band is masked and converted; so is what gives the weights' gradients.
    elements = batch * length * num_heads * lanes.LANES
    return roofline.Roofline(
        mxu=products * _bands(chip, shapes, results),
        vpu=products * roofline.vpu_cycles(elements, 2),
        hbm=_hbm(chip, (*shapes, *results)),
    )


def _bands(
    chip: chips.Chip, shapes: tuple[Any, ...], results: tuple[Any, ...]
) -> float:
    """Cycles of every head's bands times windows, a row for each position."""
    batch, length, channels = results[0].shape
    num_heads = shapes[1].shape[-2]
    tile = lanes.tile_lanes(lanes.padded_width(channels // num_heads))
    depth = lanes.LANES  # of a window
    return batch * num_heads * roofline.mxu_cycles(chip, length, depth, tile)


def _hbm(chip: chips.Chip, arrays: tuple[Any, ...]) -> float:
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)
    return roofline.hbm_cycles(chip, size)
