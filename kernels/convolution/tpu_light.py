"""light_conv on TPUs, as products with bands that are made once for all examples.

Shapes follow `blocks.Layout`: x [B, length, lanes]; weights [1 or B, parts, heads per
part, 128], with the taps in the first lanes.
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
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import skew
from clinometer.kernels.tpu import wrap


def forward(
    x: jax.Array, weights: jax.Array, band: blocks.Band, layout: blocks.Layout
) -> jax.Array:
    """Returns the output [B, length, lanes].

    Args:
        x: [B, length, lanes].
        weights: [1 or B, parts, heads per part, 128].
        band: the geometry of the band.
        layout: the layout of the arrays.
    """
    is_shared = weights.shape[0] == 1
    body = functools.partial(
        _forward_kernel, band=band, layout=layout, is_shared=is_shared
    )
    dtype = jnp.promote_types(x.dtype, weights.dtype)
    width = layout.tiles * layout.tile
    array = pl.BlockSpec((1, layout.length, width), lambda p, b: (b, 0, p))
    return wrap.call(
        body,
        "light_conv_forward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=(layout.num_tiles // layout.tiles, x.shape[0]),
        in_specs=[array, _weights_spec(weights, lambda p, b: (b, p))],
        out_specs=array,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_shapes=[
            _bands(band, layout, dtype),
            pltpu.VMEM((band.extended(layout.length), width), dtype),
        ],
    )(x, weights)


def backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,
    band: blocks.Band,
    layout: blocks.Layout,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients [B, length, lanes] and [groups, parts, heads, 128].

    Args:
        x: [B, length, lanes].
        weights: [1 or B, parts, heads per part, 128], with reversed taps.
        output_grad: [B, length, lanes].
        band: the band of the forward pass.
        layout: the layout of the arrays.
        groups: groups of the batch, each with its own gradient of the weights.
    """
    is_shared = weights.shape[0] == 1
    body = functools.partial(
        _backward_kernel, band=band, layout=layout, is_shared=is_shared
    )
    dtype = jnp.promote_types(output_grad.dtype, weights.dtype)
    width = layout.tiles * layout.tile
    each = x.shape[0] // groups
    array = pl.BlockSpec(
        (1, layout.length, width), lambda p, g, b: (g * each + b, 0, p)
    )
    parts, heads = weights.shape[1:3]
    shape = (1, 1, heads, lanes.LANES)
    mirrored = band.mirrored
    return wrap.call(
        body,
        "light_conv_backward",
        dimension_semantics=("parallel", "arbitrary", "arbitrary"),
        grid=(parts, groups, each),
        in_specs=[
            array,
            _weights_spec(weights, lambda p, g, b: (g * each + b, p)),
            array,
        ],
        out_specs=[array, pl.BlockSpec(shape, lambda p, g, b: (g, p, 0, 0))],
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct((groups, parts, heads, lanes.LANES), jnp.float32),
        ],
        scratch_shapes=[
            _bands(mirrored, layout, dtype),
            pltpu.VMEM((mirrored.extended(layout.length), width), dtype),
            pltpu.VMEM((band.extended(layout.length), width), x.dtype),
            _bands(band, layout, jnp.float32),
        ],
    )(x, weights, output_grad)


def _weights_spec(weights: jax.Array, index: Any) -> pl.BlockSpec:
    one = weights.shape[0] == 1

    def place(*grid: Any) -> Any:
        b, p = index(*grid)
        return (0 if one else b, p, 0, 0)

    return pl.BlockSpec((1, 1, *weights.shape[2:]), place)


def _bands(band: blocks.Band, layout: blocks.Layout, dtype: Any) -> Any:
    shape = (layout.tiles, layout.heads * band.rows, lanes.LANES)
    return pltpu.VMEM(shape, dtype)


def _make_bands(
    weights_ref: Any,
    bands_ref: Any,
    band: blocks.Band,
    example: jax.Array,
    is_shared: bool,
) -> None:
    """Makes the bands: once if the weights are shared, else for each example."""
    tiles, all_rows, _ = bands_ref.shape
    heads = all_rows // band.rows

    def make() -> None:
        for at in range(tiles * heads):
            weights = weights_ref[0, 0, at : at + 1, :].astype(jnp.float32)
            weights = jnp.broadcast_to(weights, (band.rows, lanes.LANES))
            start = at % heads * band.rows
            bands_ref[at // heads, start : start + band.rows, :] = skew.skew(
                weights, band.offset
            ).astype(bands_ref.dtype)

    if is_shared:
        pl.when(example == 0)(make)
    else:
        make()


def _convolve(
    window_ref: Any,
    bands_ref: Any,
    output_ref: Any,
    band: blocks.Band,
    layout: blocks.Layout,
) -> None:
    """Writes the products of bands and windows."""
    for t in range(layout.tiles):
        lane = slice(t * layout.tile, (t + 1) * layout.tile)

        def block(start: Any, rows: int, t: int = t, lane: slice = lane) -> None:
            window = window_ref[pl.ds(start, lanes.LANES), lane]
            output = products.dot(bands_ref[t], window)
            starts = range(0, output.shape[0], band.rows)
            parts = [output[i : i + rows] for i in starts]
            output = tpu_band.selected(parts, layout).astype(output_ref.dtype)
            output_ref[0, pl.ds(start, rows), lane] = output

        tpu_band.each(layout.length, band.rows, block)


def _forward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_ref: Any,
    bands_ref: Any,
    window_ref: Any,
    *,
    band: blocks.Band,
    layout: blocks.Layout,
    is_shared: bool,
) -> None:
    _make_bands(weights_ref, bands_ref, band, pl.program_id(1), is_shared)
    tpu_band.extend(window_ref, x_ref[0], band.before)
    _convolve(window_ref, bands_ref, output_ref, band, layout)


def _backward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_grad_ref: Any,
    x_grad_ref: Any,
    weights_grad_ref: Any,
    bands_ref: Any,
    gradient_ref: Any,
    window_ref: Any,
    sums_ref: Any,
    *,
    band: blocks.Band,
    layout: blocks.Layout,
    is_shared: bool,
) -> None:
    example = pl.program_id(2)
    mirrored = band.mirrored
    _make_bands(weights_ref, bands_ref, mirrored, example, is_shared)
    tpu_band.extend(gradient_ref, output_grad_ref[0], mirrored.before)
    _convolve(gradient_ref, bands_ref, x_grad_ref, mirrored, layout)

    @pl.when(example == 0)
    def _start() -> None:
        sums_ref[...] = jnp.zeros_like(sums_ref)

    tpu_band.extend(window_ref, x_ref[0], band.before)
    # Without the halos.
    first, last = layout.halo, layout.length - layout.halo
    for t in range(layout.tiles):
        lane = slice(t * layout.tile, (t + 1) * layout.tile)

        def block(start: Any, rows: int, t: int = t, lane: slice = lane) -> None:
            start = start + first
            gradient = output_grad_ref[0, pl.ds(start, rows), lane]
            gradient = tpu_band.padded_rows(gradient, band.rows)
            gradient = tpu_band.stacked(gradient, layout)
            window = window_ref[pl.ds(start, lanes.LANES), lane]
            # All products of gradients and positions; those of a tap are on one
            # diagonal, which is the same in all blocks.
            sums_ref[t] += products.dot(gradient, window, (1, 1))

        tpu_band.each(last - first, band.rows, block)

    @pl.when(example == pl.num_programs(2) - 1)
    def _finish() -> None:
        for t in range(layout.tiles):
            for h in range(layout.heads):
                sums = sums_ref[t, h * band.rows : (h + 1) * band.rows, :]
                sums = skew.unskew(sums, -band.offset)
                at = t * layout.heads + h
                total = jnp.sum(sums, axis=0, keepdims=True)
                weights_grad_ref[0, 0, at : at + 1, :] = total
