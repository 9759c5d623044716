"""dynamic_conv on TPUs as products with bands of each position's own weights.

Shapes as in `blocks.Layout`: x [B, length, lanes], weights [B, length, H * K], the taps
of a head side by side. A head's taps are rolled to where the band has them, each row
one lane further, and a gradient's diagonals back. They may lie across two registers:
what one roll needs is picked out of both, by lanes, beforehand.
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
from clinometer.kernels.tpu import skew
from clinometer.kernels.tpu import turns
from clinometer.kernels.tpu import wrap

dot = tpu_band.dot


def forward(
    x: jax.Array, weights: jax.Array, band: blocks.Band, layout: blocks.Layout
) -> jax.Array:
    """Returns the output [B, length, lanes]."""
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
    """Returns the gradients of x and weights."""
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


class _Taps:
    """The weights of a block of rows, as they lie, and their bands.

    Args:
        ref: [1, length, H * K].
        start: first row.
        rows: how many there are; the band's others are 0.
        band: geometry.
    """

    def __init__(self, ref: Any, start: Any, rows: int, band: blocks.Band) -> None:
        self._band = band
        width = ref.shape[2]
        self._tiles = []
        for left in range(0, width, lanes.LANES):
            right = min(left + lanes.LANES, width)
            tile = ref[0, pl.ds(start, rows), left:right].astype(jnp.float32)
            if right - left < lanes.LANES:
                zeros = jnp.zeros((rows, lanes.LANES - right + left), jnp.float32)
                tile = jnp.concatenate([tile, zeros], axis=1)
            self._tiles.append(tpu_band.padded_rows(tile, band.rows))

    def band(self, head: int, dtype: jnp.dtype) -> jax.Array:
        """Returns the band of a head, [rows, 128]."""
        band = self._band
        tile, at = divmod(head * band.taps, lanes.LANES)
        taps = self._tiles[tile]
        if at + band.taps > lanes.LANES:
            taps = jnp.where(_lane() >= at, taps, self._tiles[tile + 1])
        taps = skew.skew(taps, band.offset - at).astype(dtype)

        def is_tap(row: jax.Array, lane: jax.Array) -> jax.Array:
            tap = lane - row - band.offset
            return (tap >= 0) & (tap < band.taps)

        return bits.kept(taps, is_tap)


def _bands(
    taps: _Taps, t: int, layout: blocks.Layout, dtype: jnp.dtype
) -> jax.Array | None:
    """Returns the stacked bands of a tile's heads, or None for a tile without."""
    heads = range(t * layout.heads, min((t + 1) * layout.heads, layout.num_heads))
    bands = [taps.band(head, dtype) for head in heads]
    bands += [jnp.zeros_like(bands[0])] * (layout.heads - len(bands))
    return jnp.concatenate(bands)


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
        taps = _Taps(weights_ref, start, rows, band)

        def step(t: int) -> Iterator[None]:
            lane = slice(t * layout.tile, (t + 1) * layout.tile)
            bands = _bands(taps, t, layout, window_ref.dtype)
            yield
            window = window_ref[pl.ds(start, lanes.LANES), lane]
            output = dot(bands, window)
            yield
            output = tpu_band.selected(output, layout)[:rows]
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
    width = weights_ref.shape[2]

    def block(start: Any, rows: int) -> None:
        taps = _Taps(weights_ref, start, rows, band)
        flip = _exchange(band.rows)
        columns = [0.0] * -(-width // lanes.LANES)  # of the weights' gradients

        def step(t: int) -> Iterator[None]:
            lane = slice(t * layout.tile, (t + 1) * layout.tile)
            gradient = output_grad_ref[0, pl.ds(start, rows), lane]
            gradient = tpu_band.padded_rows(gradient, band.rows)
            # A roll goes to the right only: of rows in reverse, diagonals stand up.
            reverse = _flipped(flip, gradient).astype(x_ref.dtype)
            bands = _bands(taps, t, layout, dtype)
            yield
            spread = tpu_band.stacked(gradient.astype(dtype), layout)
            window = pl.ds(start, lanes.LANES)
            x_sum_ref[window, lane] += dot(bands, spread, (0, 0))
            reverse = tpu_band.stacked(reverse, layout)
            products = dot(reverse, window_ref[window, lane], (1, 1))
            yield
            for h in range(layout.heads):
                head = t * layout.heads + h
                if head < layout.num_heads:
                    product = products[h * band.rows : (h + 1) * band.rows]
                    _add_taps(columns, product, head, band)

        turns.together([step(t) for t in range(layout.num_tiles)])
        for i, column in enumerate(columns):
            left = i * lanes.LANES
            right = min(left + lanes.LANES, width)
            column = _flipped(flip, column.astype(weights_grad_ref.dtype))
            column = column[:rows, : right - left].astype(weights_grad_ref.dtype)
            weights_grad_ref[0, pl.ds(start, rows), left:right] = column

    tpu_band.each(layout.length, band.rows, block)
    x_grad = x_sum_ref[band.before : band.before + layout.length, :]
    x_grad_ref[0] = x_grad.astype(x_grad_ref.dtype)


def _add_taps(
    columns: list[Any], product: jax.Array, head: int, band: blocks.Band
) -> None:
    """Adds the diagonals of a head's products [rows, 128], rows in reverse."""
    tile, at = divmod(head * band.taps, lanes.LANES)
    upright = skew.skew(product, at - band.offset - (band.rows - 1))
    end = at + band.taps
    is_tap = (_lane() >= at) & (_lane() < end)
    columns[tile] = jnp.where(is_tap, upright, columns[tile])
    if end > lanes.LANES:
        is_tap = _lane() < end - lanes.LANES
        columns[tile + 1] = jnp.where(is_tap, upright, columns[tile + 1])


def _exchange(size: int) -> jax.Array:
    row = jax.lax.broadcasted_iota(jnp.int32, (size, size), 0)
    column = jax.lax.broadcasted_iota(jnp.int32, (size, size), 1)
    return jnp.where(row + column == size - 1, 1.0, 0.0)


def _flipped(flip: jax.Array, x: jax.Array) -> jax.Array:
    """Returns x with its rows in reverse, float32 without a rounding."""
    exact = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
    return dot(flip.astype(x.dtype), x, precision=exact)


def _lane() -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, (1, lanes.LANES), 1)
