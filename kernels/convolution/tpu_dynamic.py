"""dynamic_conv on TPUs, as products with bands of per-position weights.

Shapes follow `blocks.Layout`: x [B, length, lanes]; weights [B, length, W], where the
taps of a head are padded to 16, 32 or 64 lanes (`taps_lanes`) and heads are side by
side in tiles of 128.

One strided roll of a tile, by one lane more per row, makes the bands of all its heads,
but those of later heads are shifted to the right, with wraparound. To compensate, the
window is rotated by whole registers, which costs nothing.
"""

from collections.abc import Iterator
import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.convolution import blocks
from clinometer.kernels.convolution import tpu_band
from clinometer.kernels.tpu import bits
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import skew
from clinometer.kernels.tpu import turns
from clinometer.kernels.tpu import wrap


def forward(
    x: jax.Array, weights: jax.Array, band: blocks.Band, layout: blocks.Layout
) -> jax.Array:
    """Returns the output [B, length, lanes].

    Args:
        x: [B, length, lanes].
        weights: [B, length, W].
        band: the geometry of the band.
        layout: the layout of the arrays.
    """
    body = functools.partial(_forward_kernel, band=band, layout=layout)
    dtype = jnp.promote_types(x.dtype, weights.dtype)
    return wrap.call(
        body,
        "dynamic_conv_forward",
        dimension_semantics=("parallel",),
        grid=(x.shape[0],),
        in_specs=[_whole(x), _whole(weights)],
        out_specs=_whole(x),
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_shapes=[pltpu.VMEM((band.extended(layout.length), x.shape[2]), dtype)],
    )(x, weights)


def backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,
    band: blocks.Band,
    layout: blocks.Layout,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x and weights.

    Args:
        x: [B, length, lanes].
        weights: [B, length, W].
        output_grad: [B, length, lanes].
        band: the band of the forward pass.
        layout: the layout of the arrays.
    """
    body = functools.partial(_backward_kernel, band=band, layout=layout)
    extended = band.extended(layout.length), x.shape[2]
    return wrap.call(
        body,
        "dynamic_conv_backward",
        dimension_semantics=("parallel",),
        grid=(x.shape[0],),
        in_specs=[_whole(x), _whole(weights), _whole(x)],
        out_specs=[_whole(x), _whole(weights)],
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct(weights.shape, weights.dtype),
        ],
        scratch_shapes=[
            pltpu.VMEM(extended, x.dtype),
            pltpu.VMEM(extended, jnp.float32),
        ],
    )(x, weights, output_grad)


def _whole(x: jax.Array) -> pl.BlockSpec:
    return pl.BlockSpec((1, *x.shape[1:]), lambda b: (b, 0, 0))


def taps_lanes(taps: int) -> int:
    """Returns the lanes of a head's taps, padded to whole registers of positions."""
    return max(blocks.UNIT, 1 << (taps - 1).bit_length())


class _Bands:
    """The bands of a block of rows, of all heads.

    Args:
        ref: reference to the weights, [1, length, W].
        start: the first row.
        rows: the number of rows; the remaining rows of the bands are 0.
        band: the geometry of the band.
    """

    def __init__(self, ref: Any, start: Any, rows: int, band: blocks.Band) -> None:
        self._band = band
        self._tiles = []
        for left in range(0, ref.shape[2], lanes.LANES):
            tile = ref[0, pl.ds(start, rows), left : left + lanes.LANES]
            tile = tpu_band.padded_rows(tile.astype(jnp.float32), band.rows)
            self._tiles.append(skew.skew(tile, band.offset))

    def band(self, head: int, dtype: jnp.dtype) -> jax.Array:
        """Returns a head's band [rows, 128], for a window rotated to match."""
        tile, at = _place(head, self._band)
        return _own_taps(self._tiles[tile], at, self._band).astype(dtype)


def _place(head: int, band: blocks.Band) -> tuple[int, int]:
    """Returns the tile and the first lane of a head's taps."""
    return divmod(head * taps_lanes(band.taps), lanes.LANES)


def _own_taps(
    x: jax.Array, at: int, band: blocks.Band, is_reverse: bool = False
) -> jax.Array:
    """Returns x [rows, 128] with 0 in a skewed tile except at the head's taps."""

    def is_tap(row: jax.Array, lane: jax.Array) -> jax.Array:
        row = band.rows - 1 - row if is_reverse else row
        tap = (lane - row - band.offset - at) & (lanes.LANES - 1)
        return tap < band.taps

    return bits.kept(x, is_tap)


def _turned(x: jax.Array, count: int) -> jax.Array:
    """Returns [128, lanes] with its rows rotated down by `count`."""
    if not count:
        return x
    return jnp.concatenate([x[-count:], x[:-count]])


def _heads(t: int, layout: blocks.Layout) -> range:
    """Returns the heads of a tile of x."""
    return range(t * layout.heads, min((t + 1) * layout.heads, layout.num_heads))


def _forward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_ref: Any,
    window_ref: Any,
    *,
    band: blocks.Band,
    layout: blocks.Layout,
) -> None:
    tpu_band.extend(window_ref, x_ref[0], band.before)

    def block(start: Any, rows: int) -> None:
        bands = _Bands(weights_ref, start, rows, band)

        def step(t: int) -> Iterator[None]:
            lane = slice(t * layout.tile, (t + 1) * layout.tile)
            heads = _heads(t, layout)
            some = [bands.band(head, window_ref.dtype) for head in heads]
            yield
            window = window_ref[pl.ds(start, lanes.LANES), lane]
            outputs = [
                products.dot(one, _turned(window, _place(head, band)[1]))
                for head, one in zip(heads, some, strict=True)
            ]
            yield
            output = tpu_band.selected(outputs, layout)[:rows]
            output_ref[0, pl.ds(start, rows), lane] = output.astype(output_ref.dtype)

        turns.together([step(t) for t in range(layout.num_tiles)])

    tpu_band.each(layout.length, band.rows, block)


def _backward_kernel(
    x_ref: Any,
    weights_ref: Any,
    output_grad_ref: Any,
    x_grad_ref: Any,
    weights_grad_ref: Any,
    window_ref: Any,
    x_sum_ref: Any,
    *,
    band: blocks.Band,
    layout: blocks.Layout,
) -> None:
    tpu_band.extend(window_ref, x_ref[0], band.before)
    x_sum_ref[...] = jnp.zeros_like(x_sum_ref)
    dtype = jnp.promote_types(output_grad_ref.dtype, weights_ref.dtype)

    def block(start: Any, rows: int) -> None:
        bands = _Bands(weights_ref, start, rows, band)
        flip = _exchange(band.rows)
        columns = [0.0] * (weights_ref.shape[2] // lanes.LANES)
        place = pl.ds(start, lanes.LANES)

        def step(t: int) -> Iterator[None]:
            lane = slice(t * layout.tile, (t + 1) * layout.tile)
            heads = _heads(t, layout)
            gradient = output_grad_ref[0, pl.ds(start, rows), lane]
            gradient = tpu_band.padded_rows(gradient, band.rows)
            # Rolls go to the right only: with reversed rows they align diagonals.
            reverse = _flipped(flip, gradient).astype(x_ref.dtype)
            some = [bands.band(head, dtype) for head in heads]
            yield
            gradient = gradient.astype(dtype)
            window = window_ref[place, lane]
            x_grads, squares = [], []
            for h, head in enumerate(heads):
                _, at = _place(head, band)
                own = tpu_band.of_head(gradient, h, layout)
                x_grads.append(_turned(products.dot(some[h], own, (0, 0)), -at))
                own = tpu_band.of_head(reverse, h, layout)
                squares.append(products.dot(own, _turned(window, at), (1, 1)))
            yield
            x_sum_ref[place, lane] += sum(x_grads)
            for head, product in zip(heads, squares, strict=True):
                tile, at = _place(head, band)
                columns[tile] += _own_taps(product, at, band, is_reverse=True)

        turns.together([step(t) for t in range(layout.num_tiles)])
        for i, column in enumerate(columns):
            if not isinstance(column, float):
                column = skew.skew(column, -band.offset - (band.rows - 1))
                column = _flipped(flip, column.astype(weights_grad_ref.dtype))[:rows]
                lane = slice(i * lanes.LANES, (i + 1) * lanes.LANES)
                weights_grad_ref[0, pl.ds(start, rows), lane] = column.astype(
                    weights_grad_ref.dtype
                )

    tpu_band.each(layout.length, band.rows, block)
    x_grad = x_sum_ref[band.before : band.before + layout.length, :]
    x_grad_ref[0] = x_grad.astype(x_grad_ref.dtype)


def _exchange(size: int) -> jax.Array:
    row = jax.lax.broadcasted_iota(jnp.int32, (size, size), 0)
    column = jax.lax.broadcasted_iota(jnp.int32, (size, size), 1)
    return jnp.where(row + column == size - 1, 1.0, 0.0)


def _flipped(flip: jax.Array, x: jax.Array) -> jax.Array:
    """Returns x with its rows in reverse, float32 without a rounding."""
    exact = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
    return products.dot(flip.astype(x.dtype), x, precision=exact)
