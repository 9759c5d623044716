"""Packs heads side by side into the 128 lanes of a vector register.

A head narrower than 128 would leave lanes empty, in memory too. So [B, S, H, D] is read
as [B, S, H * D], in which a tile of 128 lanes holds 128 / D heads. A kernel reads whole
tiles and masks the lanes of other heads instead of slicing.
"""

import jax
import jax.numpy as jnp

LANES = 128


def padded_width(width: int) -> int:
    """Returns the number of lanes of a head: a divisor or a multiple of 128."""
    if width > LANES:
        return -(-width // LANES) * LANES
    return 1 << (width - 1).bit_length() if width > 1 else 1


def heads_per_tile(width: int) -> int:
    """Returns how many heads of a padded width share a tile."""
    return max(1, LANES // width)


def tile_lanes(width: int) -> int:
    """Returns the number of lanes of a tile of heads of a padded width."""
    return max(LANES, width)


def to_lanes(x: jax.Array, length: int) -> jax.Array:
    """Reshapes [B, S, H, D] to [B, length, lanes], padded with zeros.

    The number of heads is padded to whole tiles, and each head to `padded_width`.

    Args:
        x: [B, S, H, D].
        length: the padded length, at least S.
    """
    batch, size, num_heads, width = x.shape
    lanes = padded_width(width)
    more_heads = -num_heads % heads_per_tile(lanes)
    added = (length - size, more_heads, lanes - width)
    if any(added):
        x = jnp.pad(x, ((0, 0), *((0, n) for n in added)))
    return x.reshape(batch, length, (num_heads + more_heads) * lanes)


def from_lanes(x: jax.Array, length: int, num_heads: int, width: int) -> jax.Array:
    """Reshapes [B, S, lanes] back to [B, length, H, D].

    Args:
        x: [B, S, lanes].
        length: the length without padding.
        num_heads: H.
        width: D.
    """
    batch, size, _ = x.shape
    x = x.reshape(batch, size, -1, padded_width(width))
    return x[:, :length, :num_heads, :width]


def head_mask(head: int, width: int) -> jax.Array:
    """Returns bool [1, lanes of a tile]: True in the lanes of one head.

    Args:
        head: the index of the head in the tile.
        width: the padded head width.
    """
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, tile_lanes(width)), 1)
    return (lane >= head * width) & (lane < (head + 1) * width)
