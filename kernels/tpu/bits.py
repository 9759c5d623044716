"""Masks of many registers, as bits.

A predicate of a whole tile does not stay where predicates live: it is packed, spilled
and unpacked again. Words that are all ones or zeros stay as any other value does.
"""

from collections.abc import Callable

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp


def kept(
    x: jax.Array, condition: Callable[[jax.Array, jax.Array], jax.Array]
) -> jax.Array:
    """Returns x [R, W] where the condition holds, else 0 (of NaN too).

    Args:
        x: float32 or bfloat16; in a kernel.
        condition: of row and lane, int32 that can be broadcast to x; bool.
    """
    if x.dtype.itemsize == 4:
        words = jnp.where(condition(*_indices(x.shape)), -1, 0)
        bits = jax.lax.bitcast_convert_type(x, jnp.int32) & words
        return jax.lax.bitcast_convert_type(bits, x.dtype)
    # As it lies in registers: words of 32 bits, each of an even row and the odd after.
    row, lane = _indices((x.shape[0] // 2, x.shape[1]))
    words = jnp.where(condition(2 * row, lane), 0xFFFF, 0)
    words |= jnp.where(condition(2 * row + 1, lane), -0x10000, 0)
    return pltpu.bitcast(pltpu.bitcast(x, jnp.int32) & words, x.dtype)


def _indices(shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    return row, jax.lax.broadcasted_iota(jnp.int32, shape, 1)
