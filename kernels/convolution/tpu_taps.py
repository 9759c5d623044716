"""light_conv on TPUs tap by tap on the vector unit, for few taps or many heads.

Shapes follow `blocks.Layout`: x [B, length, lanes]; weights [1 or B, K, lanes] in
float32, with a filter per channel.
"""

import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.convolution import blocks
from clinometer.kernels.convolution import tpu_band
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Positions per sum, which fits into 8 registers.
_ROWS = 64
_SUBLANES = 8


def forward(
    x: jax.Array, weights: jax.Array, band: blocks.Band, layout: blocks.Layout
) -> jax.Array:
    """Returns the output [B, length, lanes].

    Args:
        x: [B, length, lanes].
        weights: float32 [1 or B, K, lanes].
        band: the geometry of the band.
        layout: the layout of the arrays.
    """
    body = functools.partial(_forward_kernel, band=band)
    width = layout.tiles * layout.tile
    array = pl.BlockSpec((1, layout.length, width), lambda p, b: (b, 0, p))
    return wrap.call(
        body,
        "light_conv_forward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=(layout.num_tiles // layout.tiles, x.shape[0]),
        in_specs=[array, _weights_spec(weights, width, lambda p, b: (b, p))],
        out_specs=array,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_shapes=[_extended(band, layout)],
    )(x, weights)


def backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,
    band: blocks.Band,
    layout: blocks.Layout,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients [B, length, lanes] and [groups, K, lanes].

    Args:
        x: [B, length, lanes].
        weights: [1 or B, K, lanes], float32, with reversed taps.
        output_grad: [B, length, lanes].
        band: the band of the forward pass.
        layout: the layout of the arrays.
        groups: groups of the batch, each with its own gradient of the weights.
    """
    body = functools.partial(_backward_kernel, band=band, layout=layout)
    width = layout.tiles * layout.tile
    each = x.shape[0] // groups
    array = pl.BlockSpec(
        (1, layout.length, width), lambda p, g, b: (g * each + b, 0, p)
    )
    weights_spec = _weights_spec(weights, width, lambda p, g, b: (g * each + b, p))
    return wrap.call(
        body,
        "light_conv_backward",
        dimension_semantics=("parallel", "arbitrary", "arbitrary"),
        grid=(layout.num_tiles // layout.tiles, groups, each),
        in_specs=[array, weights_spec, array],
        out_specs=[
            array,
            pl.BlockSpec((1, band.taps, width), lambda p, g, b: (g, 0, p)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct((groups, band.taps, x.shape[2]), jnp.float32),
        ],
        scratch_shapes=[
            _extended(band.mirrored, layout),
            _extended(band, layout),
            pltpu.VMEM((band.taps, _SUBLANES, width), jnp.float32),
        ],
    )(x, weights, output_grad)


def _weights_spec(weights: jax.Array, width: int, index: Any) -> pl.BlockSpec:
    one = weights.shape[0] == 1

    def place(*grid: Any) -> Any:
        b, p = index(*grid)
        return (0 if one else b, 0, p)

    return pl.BlockSpec((1, weights.shape[1], width), place)


def _extended(band: blocks.Band, layout: blocks.Layout) -> Any:
    # Tiles are separate so that rows that start within a register take one load: they
    # are contiguous in memory.
    rows = band.before + layout.length + -(-band.right // _SUBLANES) * _SUBLANES
    count = layout.tiles * layout.tile // lanes.LANES
    return pltpu.VMEM((count, rows, lanes.LANES), jnp.float32)


def _extend(window_ref: Any, x_ref: Any, band: blocks.Band) -> None:
    for i, lane in enumerate(_tiles(x_ref.shape[2])):
        tpu_band.extend(window_ref.at[i], x_ref[0, :, lane], band.before)


def _tiles(width: int) -> list[slice]:
    starts = range(0, width, lanes.LANES)
    return [slice(start, start + lanes.LANES) for start in starts]


def _convolve(
    window_ref: Any, weights_ref: Any, output_ref: Any, band: blocks.Band
) -> None:
    _, length, width = output_ref.shape
    for i, lane in enumerate(_tiles(width)):

        def block(start: Any, rows: int, i: int = i, lane: slice = lane) -> None:
            total = jnp.zeros((rows, lanes.LANES), jnp.float32)
            for j in range(band.taps):
                x = window_ref[i, pl.ds(start + band.offset + j, rows), :]
                total += weights_ref[0, j : j + 1, lane] * x
            total = total.astype(output_ref.dtype)
            output_ref[0, pl.ds(start, rows), lane] = total

        tpu_band.each(length, _ROWS, block)


def _forward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_ref: Any,
    window_ref: Any,
    *,
    band: blocks.Band,
) -> None:
    _extend(window_ref, x_ref, band)
    _convolve(window_ref, weights_ref, output_ref, band)


def _backward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_grad_ref: Any,
    x_grad_ref: Any,
    weights_grad_ref: Any,
    gradient_ref: Any,
    window_ref: Any,
    sums_ref: Any,
    *,
    band: blocks.Band,
    layout: blocks.Layout,
) -> None:
    mirrored = band.mirrored
    _extend(gradient_ref, output_grad_ref, mirrored)
    _convolve(gradient_ref, weights_ref, x_grad_ref, mirrored)

    @pl.when(pl.program_id(2) == 0)
    def _start() -> None:
        sums_ref[...] = jnp.zeros_like(sums_ref)

    _extend(window_ref, x_ref, band)
    # Without the halos.
    first, last = layout.halo, layout.length - layout.halo
    for i, lane in enumerate(_tiles(x_ref.shape[2])):

        def block(start: Any, rows: int, i: int = i, lane: slice = lane) -> None:
            start = start + first
            gradient = gradient_ref[i, pl.ds(start + mirrored.before, rows), :]
            for j in range(band.taps):
                x = window_ref[i, pl.ds(start + band.offset + j, rows), :]
                product = (gradient * x).reshape(-1, _SUBLANES, lanes.LANES)
                sums_ref[j, :, lane] += product.sum(axis=0)

        tpu_band.each(last - first, _ROWS, block)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _finish() -> None:
        for j in range(band.taps):
            total = jnp.sum(sums_ref[j], axis=0, keepdims=True)
            weights_grad_ref[0, j : j + 1, :] = total
