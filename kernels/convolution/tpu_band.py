"""Pieces of the convolutions that are products with a band of weights, on the MXU.

A band [rows, 128] has an output's weights in each row, one column further to the right
than the row above (`blocks.Band`); times a window of 128 positions it gives `rows`
outputs of all channels, of which those of the band's head are taken. The bands of a
tile's heads are stacked. Positions outside of the sequence are zeros in scratch.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from clinometer.kernels.convolution import blocks
from clinometer.kernels.tpu import bits

_UNROLLED = 8  # blocks of outputs in one run of instructions; more are a loop of such


def each(length: int, size: int, body: Callable[[Any, int], None]) -> None:
    """Calls `body(start, rows)` for blocks of `size` rows, and what is left.

    Args:
        length: rows in all.
        size: of a block.
        body: start, a number or a scalar, and rows, a number; its results are dropped.
    """
    count, rest = divmod(length, size)
    loops = count // _UNROLLED if count > 2 * _UNROLLED else 0

    def several(i: jax.Array, carry: Any) -> Any:
        for j in range(_UNROLLED):
            start = (i * _UNROLLED + j) * size
            body(pl.multiple_of(start, blocks.UNIT), size)
        return carry

    if loops:
        jax.lax.fori_loop(0, loops, several, None)
    for i in range(loops * _UNROLLED, count):
        body(i * size, size)
    if rest:
        body(count * size, rest)


def extend(ref: Any, x: jax.Array, before: int) -> None:
    """Writes x [S, lanes] into scratch, zeros before and after it."""
    length, width = x.shape
    after = ref.shape[0] - before - length
    if before:
        ref[:before, :] = jnp.zeros((before, width), ref.dtype)
    ref[before : before + length, :] = x.astype(ref.dtype)
    if after:
        ref[before + length :, :] = jnp.zeros((after, width), ref.dtype)


def of_head(x: jax.Array, head: int, layout: blocks.Layout) -> jax.Array:
    """Returns [R, tile], 0 in the lanes of other heads than this one of the tile."""
    if layout.heads == 1:
        return x
    shift = (layout.lanes - 1).bit_length()
    return bits.kept(x, lambda _, lane: lane >> shift == head)


def stacked(x: jax.Array, layout: blocks.Layout) -> jax.Array:
    """Returns [heads * R, tile]: a copy of [R, tile] for each head, else 0."""
    heads = range(layout.heads)
    return jnp.concatenate([of_head(x, head, layout) for head in heads])


def selected(parts: list[jax.Array], layout: blocks.Layout) -> jax.Array:
    """Returns [R, tile]: in each head's lanes the part [R, tile] of the head."""
    result = parts[0]
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, layout.tile), 1)
    for head, part in enumerate(parts[1:], 1):
        result = jnp.where(lane >= head * layout.lanes, part, result)
    return result


def padded_rows(x: jax.Array, rows: int) -> jax.Array:
    """Returns x with zeros behind it, in all `rows`."""
    if x.shape[0] == rows:
        return x
    zeros = jnp.zeros((rows - x.shape[0], x.shape[1]), x.dtype)
    return jnp.concatenate([x, zeros])
