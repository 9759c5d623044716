"""Rows of a tile rolled by their own index: Toeplitz tiles, and sums of diagonals.

`skew` turns a vector that is repeated in every row into a Toeplitz tile, and filters
into a band; `unskew` turns diagonals into columns. Both run inside of kernels.
"""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_SUBLANES = 8


def skew(x: jax.Array, shift: int = 0) -> jax.Array:
    """Rolls row r of [R, W] right by r + shift, around the end; float32.

    One instruction where the chip has it, else log2(R) rolls of all rows, each taken by
    the rows whose index has the bit.
    """
    rows, width = x.shape
    if wrap.chip().has_strided_roll:
        shift %= width
        starts = range(shift, shift + rows, _SUBLANES)
        if any(start % lanes.LANES + _SUBLANES - 1 > lanes.LANES for start in starts):
            # In one instruction, a register's rows may not go around its end.
            x, shift = pltpu.roll(x, shift, 1), 0
        return pltpu.roll(x, shift, 1, stride=1, stride_axis=0)
    return _roll_by(x, _row(x.shape), rows, shift)


def unskew(x: jax.Array, shift: int = 0) -> jax.Array:
    """Rolls row r of [R, W] left by r, and right by shift, around the end; float32.

    A strided roll goes one way only, so this is the form by bits on every chip: row r
    is rolled right by R - 1 - r, all of them left by R - 1.
    """
    rows = x.shape[0]
    return _roll_by(x, rows - 1 - _row(x.shape), rows, shift - (rows - 1))


def _row(shape: tuple[int, int]) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape, 0)


def _roll_by(x: jax.Array, amount: jax.Array, bound: int, shift: int) -> jax.Array:
    """Rolls each row by its amount, from 0 to bound - 1, and all of them by shift."""
    width = x.shape[1]
    if shift % width:
        x = pltpu.roll(x, shift % width, 1)
    for bit in range((bound - 1).bit_length()):
        rolled = pltpu.roll(x, (1 << bit) % width, 1)
        x = jnp.where((amount >> bit) & 1 == 1, rolled, x)
    return x
