"""The Pallas convolutions: when they run, in which form, and FLOPs."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.convolution import blocks
from clinometer.kernels.convolution import specs
from clinometer.kernels.convolution import tpu_dynamic
from clinometer.kernels.convolution import tpu_light
from clinometer.kernels.convolution import tpu_taps
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Heads per tile of dynamic_conv, each of which needs a separate product. With more,
# there are more weights than channels, which XLA reads just as fast.
_MOST_HEADS = 8


def light_forward(
    x: jax.Array, weights: jax.Array, *, causal: bool, groups: int
) -> tuple[jax.Array]:
    """See `reference.light_forward`."""
    del groups  # Only for gradients.
    num_heads, taps = weights.shape[1:]
    band = blocks.band(taps, causal)
    # Double-buffered blocks, and the extended x, which is float32 in `tpu_taps`.
    size = 4 * x.dtype.itemsize + 4
    layout = _layout(x, num_heads, taps, size)
    batch = max(x.shape[0], weights.shape[0])
    pieces = _pieces(x, batch, num_heads, layout)
    form, filters = _filters(weights, layout, batch, pieces.shape[0])
    output = form.forward(pieces, filters, band, layout)
    return (_joined(output, x, layout),)


def light_backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,
    *,
    causal: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """See `reference.light_backward`."""
    num_heads, taps = weights.shape[1:]
    band = blocks.band(taps, causal)
    layout = _layout(x, num_heads, taps, 6 * x.dtype.itemsize + 8)
    batch = max(x.shape[0], weights.shape[0], output_grad.shape[0])
    arrays = [_pieces(a, batch, num_heads, layout) for a in (x, output_grad)]
    reverse = weights[:, :, ::-1]
    form, filters = _filters(reverse, layout, batch, arrays[0].shape[0])
    x_grad, sums = form.backward(arrays[0], filters, arrays[1], band, layout, groups)
    if form is tpu_light:
        sums = sums.reshape(groups, -1, lanes.LANES)[:, :num_heads, :taps]
    else:
        sums = sums.reshape(groups, taps, -1, layout.lanes)[:, :, :num_heads]
        sums = jnp.moveaxis(sums.sum(axis=-1), 1, 2)
    return _joined(x_grad, x, layout), sums.astype(weights.dtype)


def dynamic_forward(
    x: jax.Array, weights: jax.Array, *, causal: bool
) -> tuple[jax.Array]:
    """See `reference.dynamic_forward`."""
    num_heads, taps = weights.shape[2:]
    band = blocks.band(taps, causal)
    size = _dynamic_bytes(x, weights, 2, 1, 4)
    layout = _layout(x, num_heads, taps, size, whole=True)
    batch = max(x.shape[0], weights.shape[0])
    pieces = _pieces(x, batch, num_heads, layout)
    filters = _cut(_broadcast(_padded_taps(weights), batch), layout)
    return (_joined(tpu_dynamic.forward(pieces, filters, band, layout), x, layout),)


def dynamic_backward(
    x: jax.Array, weights: jax.Array, output_grad: jax.Array, *, causal: bool
) -> tuple[jax.Array, jax.Array]:
    """See `reference.dynamic_backward`."""
    num_heads, taps = weights.shape[2:]
    band = blocks.band(taps, causal)
    size = _dynamic_bytes(x, weights, 3, 2, 8)
    layout = _layout(x, num_heads, taps, size, whole=True)
    batch = max(x.shape[0], weights.shape[0], output_grad.shape[0])
    arrays = [_pieces(a, batch, num_heads, layout) for a in (x, output_grad)]
    filters = _cut(_broadcast(_padded_taps(weights), batch), layout)
    x_grad, weights_grad = tpu_dynamic.backward(
        arrays[0], filters, arrays[1], band, layout
    )
    weights_grad = _uncut(weights_grad, x.shape[1], layout)
    weights_grad = weights_grad.reshape(
        *weights_grad.shape[:2], -1, tpu_dynamic.taps_lanes(taps)
    )
    return _joined(x_grad, x, layout), weights_grad[:, :, :num_heads, :taps]


def uses_bands(num_heads: int, channels: int, taps: int) -> bool:
    """Returns whether light_conv multiplies bands instead of summing taps.

    A band takes one product per head, whatever the number of taps: with n heads in a
    tile of 128 lanes, n / 4 cycles per position, while the vector unit takes K / 16
    (on v5e).

    Args:
        num_heads: H.
        channels: d.
        taps: K.
    """
    width = lanes.padded_width(channels // num_heads)
    return 4 * lanes.heads_per_tile(width) <= taps


def _layout(
    x: jax.Array, num_heads: int, taps: int, row_bytes: int, whole: bool = False
) -> blocks.Layout:
    _, length, channels = x.shape
    chip = wrap.chip()
    return blocks.choose(chip, length, num_heads, channels, taps, row_bytes, whole)


def _dynamic_bytes(
    x: jax.Array, weights: jax.Array, arrays: int, filters: int, scratch: int
) -> int:
    """Returns the bytes of VMEM per position and lane, including weights."""
    num_heads, taps = weights.shape[2:]
    width = max(lanes.LANES, num_heads * tpu_dynamic.taps_lanes(taps))
    share = math.ceil(width / x.shape[2])
    size = weights.dtype.itemsize * share
    return 2 * (arrays * x.dtype.itemsize + filters * size) + scratch


def _padded_taps(weights: jax.Array) -> jax.Array:
    """Pads [B, S, H, K] and reshapes it to [B, S, whole tiles]."""
    batch, length, num_heads, taps = weights.shape
    width = tpu_dynamic.taps_lanes(taps)
    added = -num_heads % (lanes.LANES // width)
    weights = jnp.pad(weights, ((0, 0), (0, 0), (0, added), (0, width - taps)))
    return weights.reshape(batch, length, -1)


def _broadcast(x: jax.Array, batch: int) -> jax.Array:
    return jnp.broadcast_to(x, (batch, *x.shape[1:]))


def _pieces(
    x: jax.Array, batch: int, num_heads: int, layout: blocks.Layout
) -> jax.Array:
    """Cuts [1 or batch, S, d] into pieces [batch * pieces, length, lanes]."""
    x = _broadcast(x, batch)
    length = x.shape[1] if layout.halo else layout.length
    heads = x.reshape(*x.shape[:2], num_heads, -1)
    return _cut(lanes.to_lanes(heads, length), layout)


def _cut(x: jax.Array, layout: blocks.Layout) -> jax.Array:
    """Cuts [B, S, lanes] into overlapping pieces [B * pieces, length, lanes]."""
    batch, size, width = x.shape
    if not layout.halo:
        return jnp.pad(x, ((0, 0), (0, layout.length - size), (0, 0)))
    count = -(-size // layout.step)
    after = count * layout.step + layout.halo - size
    x = jnp.pad(x, ((0, 0), (layout.halo, after), (0, 0)))
    starts = range(0, count * layout.step, layout.step)
    x = jnp.stack([x[:, i : i + layout.length] for i in starts], axis=1)
    return x.reshape(batch * count, layout.length, width)


def _uncut(x: jax.Array, size: int, layout: blocks.Layout) -> jax.Array:
    """Joins pieces without their halos to [B, size, lanes]."""
    if layout.halo:
        x = x[:, layout.halo : layout.halo + layout.step]
        x = x.reshape(-1, -(-size // layout.step) * layout.step, x.shape[2])
    return x[:, :size]


def _joined(output: jax.Array, x: jax.Array, layout: blocks.Layout) -> jax.Array:
    _, length, channels = x.shape
    output = _uncut(output, length, layout)
    num_heads = layout.num_heads
    output = lanes.from_lanes(output, length, num_heads, channels // num_heads)
    return output.reshape(-1, length, channels)


def _filters(
    weights: jax.Array, layout: blocks.Layout, batch: int, pieces: int
) -> tuple[Any, jax.Array]:
    """Returns the module that runs light_conv, and the weights in its layout."""
    _, num_heads, taps = weights.shape
    if weights.shape[0] > 1:
        weights = jnp.repeat(weights, pieces // batch, axis=0)
    all_heads = layout.num_tiles * layout.heads
    if uses_bands(num_heads, num_heads * layout.lanes, taps):
        added = ((0, 0), (0, all_heads - num_heads), (0, lanes.LANES - taps))
        weights = jnp.pad(weights, added)
        heads = layout.tiles * layout.heads
        return tpu_light, weights.reshape(len(weights), -1, heads, lanes.LANES)
    weights = jnp.pad(weights, ((0, 0), (0, all_heads - num_heads), (0, 0)))
    weights = jnp.swapaxes(weights.astype(jnp.float32), 1, 2)
    return tpu_taps, jnp.repeat(weights, layout.lanes, axis=2)


def _refuse_dynamic(chip: chips.Chip, x: Any, weights: Any, **_: Any) -> str | None:
    del chip
    num_heads = weights.shape[2]
    width = lanes.padded_width(x.shape[2] // num_heads)
    if min(num_heads, lanes.heads_per_tile(width)) > _MOST_HEADS:
        return (
            f"more than {_MOST_HEADS} heads in 128 lanes have more weights than "
            "channels, and need one product each"
        )
    return None


def _products(x: Any, weights: Any, bands: int) -> int:
    """Returns the FLOPs of `bands` products of bands and windows per head."""
    batch, length, channels = x.shape
    num_heads = weights.shape[-2]
    width = lanes.padded_width(channels // num_heads)
    heads = -(-num_heads // lanes.heads_per_tile(width)) * lanes.heads_per_tile(width)
    return bands * 2 * batch * length * heads * lanes.LANES * lanes.tile_lanes(width)


def _light_forward_executed(x: Any, weights: Any, **_: Any) -> int:
    _, num_heads, taps = weights.shape
    if uses_bands(num_heads, x.shape[2], taps):
        return _products(x, weights, 1)
    return specs.forward_flops(x, weights)


def _light_backward_executed(x: Any, weights: Any, **_: Any) -> int:
    return 2 * _light_forward_executed(x, weights)


def _dynamic_forward_executed(x: Any, weights: Any, **_: Any) -> int:
    return _products(x, weights, 1)


def _dynamic_backward_executed(x: Any, weights: Any, **_: Any) -> int:
    return _products(x, weights, 2)


LIGHT_FORWARD = wrap.implementation(light_forward, _light_forward_executed)
LIGHT_BACKWARD = wrap.implementation(light_backward, _light_backward_executed)
DYNAMIC_FORWARD = wrap.implementation(
    dynamic_forward, _dynamic_forward_executed, _refuse_dynamic
)
DYNAMIC_BACKWARD = wrap.implementation(
    dynamic_backward, _dynamic_backward_executed, _refuse_dynamic
)
