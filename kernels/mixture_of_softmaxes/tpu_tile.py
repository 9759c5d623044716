"""What both Pallas kernels of the mixture of softmaxes share.

See `tpu_forward` for the grid, in which a program works on the logits of two blocks of
tokens: those of this one, and those of the block before, which it replaces.
"""

from collections.abc import Callable
import math
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.mixture_of_softmaxes import blocks
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products

LN2 = math.log(2)
LOG2E = 1 / LN2
LEAST = -1e38  # Below every logit, and finite, so that no difference is NaN.
SUBLANES = 8

_Index = Callable[[Any], Any]


def index_maps(
    s: blocks.Shapes,
) -> tuple[_Index, _Index, Callable[[Any, Any], Any]]:
    """Returns the indices of a program's blocks.

    Returns:
        That of its tokens and that of the tokens before, from the first index in the
        grid, and that of the table's rows, from both. The last programs only finish
        the tokens before.
    """
    last = s.token_blocks - 1

    def here(i: Any) -> Any:
        return jnp.minimum(i, last)

    def before(i: Any) -> Any:
        return jnp.maximum(i - 1, 0)

    def column(i: Any, j: Any) -> Any:
        return jnp.where(i > last, s.column_blocks - 1, j)

    return here, before, column


def rows_spec(s: blocks.Shapes, width: int, index: _Index) -> pl.BlockSpec:
    """Returns the blocks [1, K T, width] of an array with a row per component."""
    return pl.BlockSpec((1, s.rows, width), lambda i, j: (index(i), 0, 0))


def logits_scratch(s: blocks.Shapes) -> Any:
    """Returns the memory for the logits of a block of tokens."""
    return pltpu.VMEM((s.column_blocks, s.rows, s.columns), jnp.float32)


def component_rows(s: blocks.Shapes, row: int) -> list[Any]:
    """Returns the rows of each component for the 8 tokens that begin at `row`."""
    return [pl.ds(k * s.tokens + row, SUBLANES) for k in range(s.components)]


def logits(
    s: blocks.Shapes, contexts_ref: Any, table_ref: Any, block: Any, start: int
) -> jax.Array:
    """Returns 128 columns of logits in base 2, LEAST beyond the vocabulary.

    Args:
        s: the shapes.
        contexts_ref: [1, K T, d].
        table_ref: [columns, d].
        block: the index of the block of columns.
        start: the first column in the block.
    """
    table = table_ref[pl.ds(start, lanes.LANES)]
    z = products.dot(contexts_ref[0], table, over=(1, 1))
    z *= LOG2E
    if not s.may_end(start):
        return z
    return jnp.where(inside(s, z.shape, block, start), z, LEAST)


def inside(
    s: blocks.Shapes, shape: tuple[int, ...], block: Any, start: int, axis: int = 1
) -> jax.Array:
    """Returns whether columns of a block are in the vocabulary, bool of `shape`.

    Args:
        s: the shapes.
        shape: the shape of the result.
        block: the index of the block of columns.
        start: the first column in the block.
        axis: the axis of the columns.
    """
    column = jax.lax.broadcasted_iota(jnp.int32, shape, axis)
    return column < s.vocabulary - start - block * s.columns


def in_turn(
    s: blocks.Shapes,
    i: Any,
    before: Callable[[int], None],
    now: Callable[[int], None],
    after: Callable[[], None] = lambda: None,
) -> None:
    """Runs a program's work, 128 columns at a time.

    Both kinds of work are in one block of code wherever there are both, so that the
    compiler can run them at the same time.

    Args:
        s: the shapes.
        i: the first index in the grid.
        before: finishes columns of the tokens before, if there are any.
        now: starts columns of this program's tokens, if there are any.
        after: finishes the tokens before, once all columns are done.
    """

    def run(*works: Callable[[int], None]) -> Callable[[], None]:
        def body() -> None:
            for start in range(0, s.columns, lanes.LANES):
                for work in works:
                    work(start)
            if before in works:
                after()

        return body

    pl.when(i == 0)(run(now))
    if s.token_blocks > 1:
        pl.when((i > 0) & (i < s.token_blocks))(run(before, now))
    pl.when(i == s.token_blocks)(run(before))
