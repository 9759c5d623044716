"""Reference implementations of the convolutions in plain jnp.

Operands and settings are those of `specs.py`. Outputs and gradients of x are sums of
shifted products, which XLA fuses into one loop; a grouped convolution or an unfolded
array of all taps is tens of times slower on a CPU. The gradient of the weights is a
product with ones for each tap, because XLA's own sums of fused products are several
times slower.
"""

import jax
import jax.numpy as jnp


def pads(taps: int, causal: bool) -> tuple[int, int]:
    """Returns how many positions the taps reach to the left and to the right.

    Args:
        taps: K.
        causal: whether the convolution is causal.
    """
    left = taps - 1 if causal else (taps - 1) // 2
    return left, taps - 1 - left


def light_forward(
    x: jax.Array,  # [B, S, d]
    weights: jax.Array,  # [1 or B, H, K]
    *,
    causal: bool,
    groups: int,
) -> tuple[jax.Array]:
    """Returns the output [B, S, d]."""
    del groups  # Only for gradients.
    left, right = pads(weights.shape[2], causal)
    return (_light_sum(x, weights, left, right).astype(x.dtype),)


def light_backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,  # [B, S, d]
    *,
    causal: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x [B, S, d] and weights [groups, H, K]."""
    _, num_heads, taps = weights.shape
    _, length, channels = x.shape
    batch = max(x.shape[0], weights.shape[0], output_grad.shape[0])
    left, right = pads(taps, causal)
    x_grad = _light_sum(output_grad, weights[:, :, ::-1], right, left)
    padded = _padded(x, left, right)
    gradient = output_grad.astype(jnp.float32)
    ones = jnp.ones((groups, batch // groups * length), jnp.float32)

    def tap_gradient(j: jax.Array) -> jax.Array:
        product = gradient * jax.lax.dynamic_slice_in_dim(padded, j, length, 1)
        product = jnp.broadcast_to(product, (batch, length, channels))
        product = product.reshape(groups, -1, channels)
        return jnp.einsum("gn,gnc->gc", ones, product)

    sums = jax.lax.map(tap_gradient, jnp.arange(taps))
    sums = sums.reshape(taps, groups, num_heads, -1).sum(axis=-1)
    return (
        jnp.broadcast_to(x_grad, (batch, length, channels)).astype(x.dtype),
        jnp.moveaxis(sums, 0, -1).astype(weights.dtype),
    )


def dynamic_forward(
    x: jax.Array,  # [B, S, d]
    weights: jax.Array,  # [B, S, H, K]
    *,
    causal: bool,
) -> tuple[jax.Array]:
    """Returns the output [B, S, d]."""
    left, right = pads(weights.shape[3], causal)
    return (_dynamic_sum(x, weights, left, right).astype(x.dtype),)


def dynamic_backward(
    x: jax.Array,
    weights: jax.Array,
    output_grad: jax.Array,  # [B, S, d]
    *,
    causal: bool,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x [B, S, d] and weights [B, S, H, K]."""
    _, length, num_heads, taps = weights.shape
    channels = x.shape[2]
    batch = max(x.shape[0], weights.shape[0], output_grad.shape[0])
    left, right = pads(taps, causal)
    # Entry i at position t: the weight with which output t + i - right used input t.
    shifted = jnp.pad(weights, ((0, 0), (right, left), (0, 0), (0, 0)))
    shifted = jnp.stack(
        [shifted[:, i : i + length, :, taps - 1 - i] for i in range(taps)], axis=-1
    )
    x_grad = _dynamic_sum(output_grad, shifted, right, left)
    padded = _padded(x, left, right)
    gradient = output_grad.astype(jnp.float32)
    ones = jnp.ones((channels // num_heads,), jnp.float32)

    def tap_gradient(j: jax.Array) -> jax.Array:
        product = gradient * jax.lax.dynamic_slice_in_dim(padded, j, length, 1)
        sums = product.reshape(-1, channels // num_heads) @ ones
        return sums.reshape(-1, length, num_heads)

    weights_grad = jax.lax.map(tap_gradient, jnp.arange(taps))
    weights_grad = jnp.moveaxis(weights_grad, 0, -1)
    return (
        jnp.broadcast_to(x_grad, (batch, length, channels)).astype(x.dtype),
        jnp.broadcast_to(weights_grad, (batch, *weights.shape[1:])).astype(
            weights.dtype
        ),
    )


def _padded(x: jax.Array, left: int, right: int) -> jax.Array:
    return jnp.pad(x.astype(jnp.float32), ((0, 0), (left, right), (0, 0)))


def _light_sum(x: jax.Array, weights: jax.Array, left: int, right: int) -> jax.Array:
    num_heads, taps = weights.shape[1:]
    length, channels = x.shape[1:]
    padded = _padded(x, left, right)
    weights = weights.astype(jnp.float32)
    filters = jnp.repeat(weights, channels // num_heads, axis=1)  # [1 or B, d, K]
    return sum(filters[:, None, :, j] * padded[:, j : j + length] for j in range(taps))


def _dynamic_sum(x: jax.Array, weights: jax.Array, left: int, right: int) -> jax.Array:
    num_heads, taps = weights.shape[2:]
    length, channels = x.shape[1:]
    padded = _padded(x, left, right)
    padded = padded.reshape(*padded.shape[:2], num_heads, channels // num_heads)
    weights = weights.astype(jnp.float32)
    output = sum(weights[..., j, None] * padded[:, j : j + length] for j in range(taps))
    return output.reshape(-1, length, channels)
