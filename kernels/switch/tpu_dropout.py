"""The mask of dropout as TPU kernels draw it: a function of a seed, a row and a column.

The mask of an element does not depend on blocks or devices, so a backward kernel draws
the mask of the forward one again. `keep` hashes the exclusive or of two random keys:
its row's, made here of a seed of the row's expert, and its column's.
"""

import jax
import jax.numpy as jnp

# The golden ratio times 2^32, which spreads row numbers over all integers, and the
# multipliers of a hash function found by search for the least bias (Chris Wellons,
# "Prospecting for Hash Functions", 2018); as int32.
_GOLDEN = 0x9E3779B9 - (1 << 32)
_FIRST = 0x7FEB352D
_SECOND = 0x846CA68B - (1 << 32)


def row_keys(seed: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Returns the keys of rows, one for each row, in every column.

    Args:
        seed: random int32, a scalar.
        shape: rows and columns.

    Returns:
        int32 of that shape.
    """
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    return _hash(row * _GOLDEN + seed)


def keep(rows: jax.Array, columns: jax.Array, rate: float) -> jax.Array:
    """Returns the elements that dropout keeps, with probability 1 - rate.

    Args:
        rows: int32 [R, 1], keys of rows.
        columns: int32 [1, M], keys of columns.
        rate: the probability of dropping an element, in [0, 1); exact to 2^-32.

    Returns:
        bool [R, M].
    """
    return _hash(rows ^ columns) >= round(rate * (1 << 32)) - (1 << 31)


def _hash(x: jax.Array) -> jax.Array:
    """Returns a bijection of int32 in which every bit depends on all bits of x."""
    x = (x ^ jax.lax.shift_right_logical(x, 16)) * _FIRST
    x = (x ^ jax.lax.shift_right_logical(x, 15)) * _SECOND
    return x ^ jax.lax.shift_right_logical(x, 16)
