"""Masks over many registers, applied as bits.

The predicate of a whole tile does not fit the predicate registers: it is packed,
spilled and unpacked again. Words of all ones or zeros are kept like any other value.
"""

from collections.abc import Callable

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp


def kept(
    x: jax.Array, condition: Callable[[jax.Array, jax.Array], jax.Array]
) -> jax.Array:
    """Returns x [R, W] where the condition holds, else 0, even for NaN.

    Args:
        x: float32 or bfloat16, inside a kernel.
        condition: takes the int32 row and lane indices, broadcastable to x; returns
            bool.
    """
    if x.dtype.itemsize == 4:
        words = jnp.where(condition(*_indices(x.shape)), -1, 0)
        bits = jax.lax.bitcast_convert_type(x, jnp.int32) & words
        return jax.lax.bitcast_convert_type(bits, x.dtype)
    # In registers, a 32-bit word holds an even row and the odd row after it.
    row, lane = _indices((x.shape[0] // 2, x.shape[1]))
    words = jnp.where(condition(2 * row, lane), 0xFFFF, 0)
    words |= jnp.where(condition(2 * row + 1, lane), -0x10000, 0)
    return pltpu.bitcast(pltpu.bitcast(x, jnp.int32) & words, x.dtype)


def _indices(shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    return row, jax.lax.broadcasted_iota(jnp.int32, shape, 1)
