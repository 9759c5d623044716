"""Rolls each row of a tile by its index, inside kernels.

`skew` turns a vector repeated in every row into a Toeplitz tile, and filters into a
band. `unskew` turns diagonals into columns, so that they can be summed.
"""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_SUBLANES = 8


def skew(x: jax.Array, shift: int = 0) -> jax.Array:
    """Rolls row r of a float32 [R, W] right by r + shift, with wraparound.

    Uses one instruction if the chip has it, else log2(R) rolls of all rows, each kept
    by the rows whose index has the corresponding bit set.

    Args:
        x: float32 [R, W], inside a kernel.
        shift: a roll of all rows to the right.
    """
    rows, width = x.shape
    if wrap.chip().has_strided_roll:
        shift %= width
        starts = range(shift, shift + rows, _SUBLANES)
        if any(start % lanes.LANES + _SUBLANES - 1 > lanes.LANES for start in starts):
            # One instruction cannot wrap the rows of a register around its end.
            x, shift = pltpu.roll(x, shift, 1), 0
        return pltpu.roll(x, shift, 1, stride=1, stride_axis=0)
    return _roll_by(x, _row(x.shape), rows, shift)


def unskew(x: jax.Array, shift: int = 0) -> jax.Array:
    """Rolls row r of a float32 [R, W] left by r and right by shift, with wraparound.

    Strided rolls go in one direction only, so every chip uses the bitwise form: row r
    is rolled right by R - 1 - r, then all rows left by R - 1.

    Args:
        x: float32 [R, W], inside a kernel.
        shift: a roll of all rows to the right.
    """
    rows = x.shape[0]
    return _roll_by(x, rows - 1 - _row(x.shape), rows, shift - (rows - 1))


def _row(shape: tuple[int, int]) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape, 0)


def _roll_by(x: jax.Array, amount: jax.Array, bound: int, shift: int) -> jax.Array:
    """Rolls each row by its amount, in [0, bound), and all rows by shift."""
    width = x.shape[1]
    if shift % width:
        x = pltpu.roll(x, shift % width, 1)
    for bit in range((bound - 1).bit_length()):
        rolled = pltpu.roll(x, (1 << bit) % width, 1)
        x = jnp.where((amount >> bit) & 1 == 1, rolled, x)
    return x
