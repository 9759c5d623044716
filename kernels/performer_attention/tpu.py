"""Performer attention on TPUs: when the Pallas kernels run, and at what cost."""

from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import tpu_causal
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_WIDEST = 256  # of a head, whose state stays in registers and VMEM


def forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """As `reference.forward`."""
    batch, length, num_heads, width = query.shape
    layout = _layout(query, 4)
    arrays = _to_lanes((query, key, value), layout)
    output, denominator = tpu_causal.forward(
        arrays, _padded_mask(mask, layout), layout, epsilon
    )
    denominator = denominator.reshape(batch, -1, layout.length)
    return (
        _from_lanes(output, length, num_heads, width),
        denominator[:, :num_heads, :length],
    )


def backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    output: jax.Array,
    denominator: jax.Array,
    output_grad: jax.Array,
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `reference.backward`."""
    batch, length, num_heads, width = query.shape
    layout = _layout(query, 8)
    arrays = _to_lanes((query, key, value, output, output_grad), layout)
    heads = layout.num_tiles * layout.heads
    added = ((0, 0), (0, heads - num_heads), (0, layout.length - length))
    denominator = jnp.pad(denominator, added)
    denominator = denominator.reshape(
        batch, -1, layout.tiles * layout.heads, layout.length
    )
    gradients = tpu_causal.backward(
        arrays, denominator, _padded_mask(mask, layout), layout, epsilon
    )
    return tuple(_from_lanes(x, length, num_heads, width) for x in gradients)


def _layout(query: jax.Array, arrays: int) -> blocks.Layout:
    _, length, num_heads, width = query.shape
    size = arrays * query.dtype.itemsize
    return blocks.choose(wrap.chip(), length, num_heads, width, size)


def _to_lanes(
    arrays: tuple[jax.Array, ...], layout: blocks.Layout
) -> tuple[jax.Array, ...]:
    added = max(0, blocks.NARROWEST - layout.width)
    if added:
        rest = ((0, 0), (0, 0), (0, 0), (0, added))
        arrays = tuple(jnp.pad(x, rest) for x in arrays)
    return tuple(lanes.to_lanes(x, layout.length) for x in arrays)


def _from_lanes(x: jax.Array, length: int, num_heads: int, width: int) -> jax.Array:
    wide = max(width, blocks.NARROWEST)
    return lanes.from_lanes(x, length, num_heads, wide)[..., :width]


def _padded_mask(mask: jax.Array, layout: blocks.Layout) -> jax.Array | None:
    if not mask.size:
        return None
    return jnp.pad(mask, ((0, 0), (0, layout.length - mask.shape[1])))[:, None]


def _refuse(
    chip: chips.Chip, query: Any, *_: Any, causal: bool, **settings: Any
) -> str | None:
    del chip
    if not causal:
        return "bidirectional attention is two products that XLA computes"
    if query.shape[3] > _WIDEST:
        return f"heads wider than {_WIDEST} have a state too large for VMEM"
    return None


def _executed(query: Any, rows_of_tiles: int) -> int:
    """FLOPs of products, each of so many rows by a tile for every position."""
    batch, length, num_heads, width = query.shape
    layout = blocks.choose(chips.ANY, length, num_heads, width, 1)
    positions = batch * layout.num_tiles * blocks.padded(length, width)
    return 2 * positions * rows_of_tiles * layout.tile


def _forward_executed(query: Any, *_: Any, **settings: Any) -> int:
    tile = lanes.tile_lanes(blocks.head_lanes(query.shape[3]))
    # Weights, their products with the values, reading and adding to the state; the
    # denominators twice.
    return _executed(query, 2 * lanes.LANES + 2 * tile)


def _backward_executed(query: Any, *_: Any, **settings: Any) -> int:
    tile = lanes.tile_lanes(blocks.head_lanes(query.shape[3]))
    # Two products within a chunk for each gradient, each reading a state; two states.
    return _executed(query, 6 * lanes.LANES + 5 * tile)


FORWARD = wrap.implementation(forward, _forward_executed, _refuse)
BACKWARD = wrap.implementation(backward, _backward_executed, _refuse)
