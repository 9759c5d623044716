"""The Pallas Performer attention: when it runs, and FLOPs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import tpu_bidirectional
from clinometer.kernels.performer_attention import tpu_causal
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_FORWARD_ARRAYS, _BACKWARD_ARRAYS = 4, 8  # Operands and results.
_WIDEST = 256  # Head width whose state still fits into registers and VMEM.


def forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    *,
    causal: bool,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """See `reference.forward`."""
    batch, num_queries, num_heads, width = query.shape
    layout, keys = _layouts(wrap.chip(), query, key, _FORWARD_ARRAYS, causal)
    arrays = (_to_lanes(query, layout), _to_lanes(key, keys), _to_lanes(value, keys))
    mask = _padded_mask(mask, key.shape[1], keys, causal)
    if causal:
        output, denominator = tpu_causal.forward(arrays, mask, layout, epsilon)
    else:
        output, denominator = tpu_bidirectional.forward(
            arrays, mask, (layout, keys), epsilon
        )
    denominator = denominator.reshape(batch, -1, layout.length)
    return (
        _from_lanes(output, num_queries, num_heads, width),
        denominator[:, :num_heads, :num_queries],
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
    """See `reference.backward`."""
    batch, num_queries, num_heads, width = query.shape
    layout, keys = _layouts(wrap.chip(), query, key, _BACKWARD_ARRAYS, causal)
    arrays = (
        _to_lanes(query, layout),
        _to_lanes(key, keys),
        _to_lanes(value, keys),
        _to_lanes(output, layout),
        _to_lanes(output_grad, layout),
    )
    mask = _padded_mask(mask, key.shape[1], keys, causal)
    heads = layout.num_tiles * layout.heads
    added = ((0, 0), (0, heads - num_heads), (0, layout.length - num_queries))
    denominator = jnp.pad(denominator, added)
    denominator = denominator.reshape(
        batch, -1, layout.tiles * layout.heads, layout.length
    )
    if causal:
        gradients = tpu_causal.backward(arrays, denominator, mask, layout, epsilon)
    else:
        gradients = tpu_bidirectional.backward(
            arrays, denominator, mask, (layout, keys), epsilon
        )
    lengths = (num_queries, key.shape[1], key.shape[1])
    return tuple(
        _from_lanes(x, length, num_heads, width)
        for x, length in zip(gradients, lengths, strict=True)
    )


def _layouts(
    chip: chips.Chip, query: Any, key: Any, arrays: int, causal: bool
) -> tuple[blocks.Layout, blocks.Layout]:
    """Returns the layouts of queries and keys, which are the same if causal."""
    num_queries, num_heads, width = query.shape[1:]
    lengths = (num_queries, key.shape[1])
    size = arrays * query.dtype.itemsize
    layout = blocks.choose(chip, max(lengths), num_heads, width, size, not causal)
    if causal:
        return layout, layout
    some = (blocks.padded(length, width) for length in lengths)
    return tuple(dataclasses.replace(layout, length=n, rows=n) for n in some)


def _to_lanes(x: jax.Array, layout: blocks.Layout) -> jax.Array:
    added = max(0, blocks.NARROWEST - layout.width)
    if added:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, added)))
    return lanes.to_lanes(x, layout.length)


def _from_lanes(x: jax.Array, length: int, num_heads: int, width: int) -> jax.Array:
    wide = max(width, blocks.NARROWEST)
    return lanes.from_lanes(x, length, num_heads, wide)[..., :width]


def _padded_mask(
    mask: jax.Array, num_keys: int, layout: blocks.Layout, causal: bool
) -> jax.Array | None:
    """Returns the mask as [1 or B, 1, length], or None if no key is masked.

    Padding keys of a causal sequence come after all queries and need no mask.
    """
    if not mask.size:
        if causal or num_keys == layout.length:
            return None
        mask = jnp.ones((1, num_keys), jnp.float32)
    return jnp.pad(mask, ((0, 0), (0, layout.length - num_keys)))[:, None]


def _refuse(
    chip: chips.Chip, query: Any, key: Any, causal: bool, **_: Any
) -> str | None:
    del chip
    if query.shape[3] > _WIDEST:
        return f"heads wider than {_WIDEST} have a state too large for VMEM"
    if causal:
        return None
    longest = max(query.shape[1], key.shape[1])
    size = _BACKWARD_ARRAYS * query.dtype.itemsize
    if longest > blocks.most_rows(query.shape[3], size):
        return (
            "bidirectional attention of sequences that do not fit into one program "
            f"({query.shape[1]} queries, {key.shape[1]} keys) is made of products that "
            "XLA computes just as fast"
        )
    return None


def _executed(
    query: Any, rows_of_tiles: int, key: Any = None, rows_of_keys: int = 0
) -> int:
    """Returns the FLOPs of products of `rows` per position with a tile of lanes."""
    batch, length, num_heads, width = query.shape
    head = blocks.head_lanes(width)
    tiles = batch * -(-num_heads // lanes.heads_per_tile(head))
    rows = rows_of_tiles * blocks.padded(length, width)
    if rows_of_keys:
        rows += rows_of_keys * blocks.padded(key.shape[1], width)
    return 2 * tiles * rows * lanes.tile_lanes(head)


def _within(length: int, width: int) -> int:
    """Returns the average columns of a position's products within its group."""
    chunk = min(blocks.head_lanes(width), lanes.LANES)
    chunks = min(blocks.GROUP, blocks.padded(length, width)) // chunk
    return lanes.LANES * (chunks + 1) // 2


def _forward_executed(query: Any, key: Any, causal: bool, **_: Any) -> int:
    width = query.shape[3]
    tile = lanes.tile_lanes(blocks.head_lanes(width))
    if not causal:
        return _executed(query, tile, key, tile)
    # Weights and their products with values; reading the state and adding to it.
    return _executed(query, 2 * _within(query.shape[1], width) + 2 * tile)


def _backward_executed(query: Any, key: Any, causal: bool, **_: Any) -> int:
    width = query.shape[3]
    tile = lanes.tile_lanes(blocks.head_lanes(width))
    if not causal:
        return _executed(query, 2 * tile, key, 3 * tile)
    # For each gradient, two products within a group and reading a state; two states.
    return _executed(query, 6 * _within(query.shape[1], width) + 5 * tile)


FORWARD = wrap.implementation(forward, _forward_executed, _refuse)
BACKWARD = wrap.implementation(backward, _backward_executed, _refuse)
