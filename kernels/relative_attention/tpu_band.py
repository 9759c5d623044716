"""The bias inside of the TPU kernels: one band of 128 rows for a whole block.

Logits lie transposed, keys along sublanes and queries along lanes. The bias of key s
and query t depends on t - s only, so that 128 keys further down it is the same 128
queries further right: all tiles of a block are windows, aligned to lanes, of one band

    band[r, x] = vector[x + 128 - r],  r < 128.

A band is made of eight rows, each rolled by its index, and sixteen rolls of those eight
by multiples of 8. The gradient takes the same way back, and no roll is repeated.
"""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import skew

ROWS = lanes.LANES  # of a band
_SUBLANES = 8


def to_vector(bias: jax.Array, num_keys: int, queries: int, keys: int) -> jax.Array:
    """Turns [..., T + S - 1] (index s - t + T - 1) to index t - s + keys.

    Args:
        bias: of T queries and S keys.
        num_keys: S.
        queries: T with padding.
        keys: S with padding.

    Returns:
        [..., queries + keys], zeros where no real query and key are so far apart.
    """
    size = bias.shape[-1]
    before = keys - num_keys + 1
    after = queries + keys - size - before
    padding = [(0, 0)] * (bias.ndim - 1) + [(before, after)]
    return jnp.pad(jnp.flip(bias, -1), padding)


def from_vector(vector: jax.Array, num_keys: int, keys: int, size: int) -> jax.Array:
    """Turns the gradient of what `to_vector` returns to that of the bias."""
    before = keys - num_keys + 1
    return jnp.flip(vector[..., before : before + size], -1)


def build(band_ref: jax.Ref, vector: jax.Array) -> None:
    """Writes the bands of some heads.

    Args:
        band_ref: [heads, 128, W - 128], float32.
        vector: [heads, W].
    """
    heads, width = vector.shape
    rows = [
        skew.skew(jnp.broadcast_to(vector[head : head + 1], (_SUBLANES, width)))
        for head in range(heads)
    ]
    for start in range(0, ROWS, _SUBLANES):
        for head in range(heads):
            rolled = pltpu.roll(rows[head], start, 1) if start else rows[head]
            band_ref[head, start : start + _SUBLANES, :] = rolled[:, ROWS:]


def sums(band: jax.Array) -> jax.Array:
    """Returns [1, W] of [128, W - 128]: the sum of what `build` took of each place."""
    width = band.shape[1] + ROWS
    total = jnp.zeros((_SUBLANES, width), band.dtype)
    nothing = jnp.zeros((_SUBLANES, ROWS), band.dtype)
    for start in range(0, ROWS, _SUBLANES):
        rows = jnp.concatenate([nothing, band[start : start + _SUBLANES]], axis=1)
        total += pltpu.roll(rows, width - start, 1) if start else rows
    return jnp.sum(skew.unskew(total), axis=0, keepdims=True)


def window(row: int, column: int, keys: int) -> int:
    """Returns where in a band the tile starts.

    Args:
        row: first key of the tile, in its block; a multiple of 128.
        column: first query, likewise.
        keys: of the block.
    """
    return column - row + keys - ROWS
