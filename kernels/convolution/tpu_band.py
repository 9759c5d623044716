"""Building blocks of convolutions as products with a band of weights on the MXU.

Each row of a band [rows, 128] has the weights of one output, shifted right by one
column per row (`blocks.Band`). The band times a window of 128 positions gives `rows`
outputs for all channels, of which those of the band's head are kept. The bands of the
heads of a tile are stacked. Positions outside the sequence are zeros in scratch.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from clinometer.kernels.convolution import blocks
from clinometer.kernels.tpu import bits

_UNROLLED = 8  # Blocks of outputs that are unrolled; more become a loop.


def each(length: int, size: int, body: Callable[[Any, int], None]) -> None:
    """Calls `body(start, rows)` for blocks of `size` rows and for the remainder.

    Args:
        length: the total number of rows.
        size: rows per block.
        body: takes the first row (an int or a traced scalar) and the number of rows.
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
    """Writes x [S, lanes] into scratch, with zeros before and after it.

    Args:
        ref: scratch [R, lanes], with R >= before + S.
        x: [S, lanes].
        before: the number of rows of zeros before x.
    """
    length, width = x.shape
    after = ref.shape[0] - before - length
    if before:
        ref[:before, :] = jnp.zeros((before, width), ref.dtype)
    ref[before : before + length, :] = x.astype(ref.dtype)
    if after:
        ref[before + length :, :] = jnp.zeros((after, width), ref.dtype)


def of_head(x: jax.Array, head: int, layout: blocks.Layout) -> jax.Array:
    """Returns x [R, tile] with 0 in the lanes of the tile's other heads.

    Args:
        x: float32 or bfloat16 [R, tile].
        head: the index of the head in the tile.
        layout: the layout of the arrays.
    """
    if layout.heads == 1:
        return x
    shift = (layout.lanes - 1).bit_length()
    return bits.kept(x, lambda _, lane: lane >> shift == head)


def stacked(x: jax.Array, layout: blocks.Layout) -> jax.Array:
    """Returns [heads * R, tile]: for each head, x with 0 in other heads' lanes.

    Args:
        x: float32 or bfloat16 [R, tile].
        layout: the layout of the arrays.
    """
    heads = range(layout.heads)
    return jnp.concatenate([of_head(x, head, layout) for head in heads])


def selected(parts: list[jax.Array], layout: blocks.Layout) -> jax.Array:
    """Returns [R, tile], with the lanes of each head from that head's part.

    Args:
        parts: [R, tile] for each head of the tile.
        layout: the layout of the arrays.
    """
    result = parts[0]
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, layout.tile), 1)
    for head, part in enumerate(parts[1:], 1):
        result = jnp.where(lane >= head * layout.lanes, part, result)
    return result


def padded_rows(x: jax.Array, rows: int) -> jax.Array:
    """Returns x padded with zeros to `rows` rows.

    Args:
        x: [R, lanes].
        rows: the number of rows of the result.
    """
    if x.shape[0] == rows:
        return x
    zeros = jnp.zeros((rows - x.shape[0], x.shape[1]), x.dtype)
    return jnp.concatenate([x, zeros])
