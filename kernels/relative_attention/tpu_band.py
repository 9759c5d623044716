"""The bias inside the Pallas kernels: one band of 128 rows for a whole block.

Logits are transposed, with keys along sublanes and queries along lanes. The bias of key
s and query t depends only on t - s, so moving down by 128 keys is the same as moving
right by 128 queries. All tiles of a block are therefore lane-aligned windows of a band

    band[r, x] = vector[x + 128 - r],  r < 128.

The band is made from eight rows, each rolled by its index, and sixteen rolls of those
eight rows by multiples of 8. The gradient goes the same way back.
"""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import skew

ROWS = lanes.LANES  # Rows of a band.
_SUBLANES = 8


def to_vector(bias: jax.Array, num_keys: int, queries: int, keys: int) -> jax.Array:
    """Converts a bias with index s - t + T - 1 to a vector with index t - s + keys.

    Args:
        bias: [..., T + S - 1], of T queries and S keys.
        num_keys: S.
        queries: T with padding.
        keys: S with padding.

    Returns:
        [..., queries + keys], with zeros for distances that only occur in padding.
    """
    size = bias.shape[-1]
    before = keys - num_keys + 1
    after = queries + keys - size - before
    padding = [(0, 0)] * (bias.ndim - 1) + [(before, after)]
    return jnp.pad(jnp.flip(bias, -1), padding)


def from_vector(vector: jax.Array, num_keys: int, keys: int, size: int) -> jax.Array:
    """Converts the gradient of a vector from `to_vector` to that of the bias.

    Args:
        vector: [..., queries + keys].
        num_keys: S.
        keys: S with padding.
        size: T + S - 1.

    Returns:
        [..., size].
    """
    before = keys - num_keys + 1
    return jnp.flip(vector[..., before : before + size], -1)


def build(band_ref: jax.Ref, vector: jax.Array) -> None:
    """Writes the bands of several heads.

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
    """Sums a band [128, W - 128] to a vector [1, W]; the transpose of `build`."""
    width = band.shape[1] + ROWS
    total = jnp.zeros((_SUBLANES, width), band.dtype)
    nothing = jnp.zeros((_SUBLANES, ROWS), band.dtype)
    for start in range(0, ROWS, _SUBLANES):
        rows = jnp.concatenate([nothing, band[start : start + _SUBLANES]], axis=1)
        total += pltpu.roll(rows, width - start, 1) if start else rows
    return jnp.sum(skew.unskew(total), axis=0, keepdims=True)


def window(row: int, column: int, keys: int) -> int:
    """Returns the column of a band at which a tile starts.

    Args:
        row: the tile's first key within its block, a multiple of 128.
        column: the tile's first query within its block, a multiple of 128.
        keys: the number of keys of the block.
    """
    return column - row + keys - ROWS
