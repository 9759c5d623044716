"""Block specs of the Pallas Performer kernels, and loops over positions."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import tpu_tile
from clinometer.kernels.tpu import lanes

# Groups of positions that are unrolled; more become a loop.
_UNROLLED = 4


class Specs:
    """Block specs for a grid (batch, part of the tiles, rows).

    Args:
        layout: the layout of the arrays.
        batch: B.
        backwards: whether rows are visited from last to first.
    """

    def __init__(
        self, layout: blocks.Layout, batch: int, backwards: bool = False
    ) -> None:
        self._layout = layout
        self._batch = batch
        parts = layout.num_tiles // layout.tiles
        self._num_rows = layout.length // layout.rows
        self._backwards = backwards
        self.grid = (batch, parts, self._num_rows)

    def _row(self, i: Any) -> Any:
        return self._num_rows - 1 - i if self._backwards else i

    def array(self) -> pl.BlockSpec:
        """Returns the spec of [B, length, lanes]."""
        layout = self._layout
        shape = (1, layout.rows, layout.tiles * layout.tile)
        return pl.BlockSpec(shape, lambda b, p, i: (b, self._row(i), p))

    def denominator(self) -> pl.BlockSpec:
        """Returns the spec of the denominators."""
        layout = self._layout
        shape = (1, 1, layout.tiles * layout.heads, layout.rows)
        return pl.BlockSpec(shape, lambda b, p, i: (b, p, 0, self._row(i)))

    def denominators(self) -> jax.ShapeDtypeStruct:
        """Returns the shape of all denominators."""
        layout = self._layout
        heads = layout.tiles * layout.heads
        shape = (self._batch, self.grid[1], heads, layout.length)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def masks(self, mask: jax.Array | None) -> list[pl.BlockSpec]:
        """Returns the spec of a mask [1 or B, 1, length], if there is one."""
        if mask is None:
            return []
        one = mask.shape[0] == 1
        shape = (1, 1, self._layout.rows)
        return [pl.BlockSpec(shape, lambda b, p, i: (0 if one else b, 0, self._row(i)))]

    def states(self) -> list[Any]:
        """Returns the scratch for each tile's state, and for a sum of vectors."""
        layout = self._layout
        shape = (layout.tiles, layout.tile, layout.tile)
        return [
            pltpu.VMEM(shape, jnp.float32),
            pltpu.VMEM((layout.tiles, 1, layout.tile), jnp.float32),
        ]

    def prepared(self, dtype: jnp.dtype) -> list[Any]:
        """Returns the scratch shared by both scans of the backward pass."""
        layout = self._layout
        some = min(tpu_tile.TOGETHER, layout.tiles)
        chunks = layout.rows // layout.chunk
        return [
            pltpu.VMEM((some, layout.rows, layout.tile), dtype),
            pltpu.VMEM((some, layout.rows, lanes.LANES), jnp.float32),
            pltpu.VMEM((some, chunks, 8, lanes.LANES), jnp.float32),
        ]


def scan(count: int, step: Callable[[Any], None], backwards: bool = False) -> None:
    """Calls `step(i)` for i from 0 to count - 1, or in reverse.

    Args:
        count: the number of steps.
        step: takes an index, which is an int or a traced scalar.
        backwards: whether to go from last to first.
    """
    loops = count // _UNROLLED if count > _UNROLLED else 0
    rest = range(loops * _UNROLLED, count)

    def several(i: jax.Array, carry: Any) -> Any:
        first = (loops - 1 - i if backwards else i) * _UNROLLED
        inner = range(_UNROLLED)
        for j in reversed(inner) if backwards else inner:
            step(first + j)
        return carry

    if backwards:
        for i in reversed(rest):
            step(i)
    if loops:
        jax.lax.fori_loop(0, loops, several, None)
    if not backwards:
        for i in rest:
            step(i)


def span(index: Any, size: int) -> pl.Slice:
    """Returns the slice of `size` positions that starts at index * size.

    Args:
        index: an int or a traced scalar.
        size: the number of positions.
    """
    start = index * size
    return pl.ds(start if isinstance(start, int) else pl.multiple_of(start, size), size)


def start_states(refs: Sequence[Any]) -> None:
    """Sets the states to zero at the first rows of a sequence."""

    @pl.when(pl.program_id(2) == 0)
    def _start() -> None:
        for ref in refs:
            ref[...] = jnp.zeros_like(ref)


def mask_column(tile: tpu_tile.Tile, mask_ref: Any, at: pl.Slice) -> jax.Array | None:
    """Returns the mask of some positions as [R, lanes of the tile], or None.

    Args:
        tile: the tile.
        mask_ref: reference to a mask [1, 1, rows], or None.
        at: the positions.
    """
    if mask_ref is None:
        return None
    row = mask_ref[0, :, at]
    return tile.widened(tile.columns(jnp.concatenate([row] * tile.layout.heads)))
