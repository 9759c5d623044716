"""RMS norm, computed in float32."""

import haiku as hk
import jax
import jax.numpy as jnp

EPSILON = 1e-6


class RMSNorm(hk.Module):
    """`x * rsqrt(mean(x^2) + 1e-6) * scale` over the last axis (spec §1.2).

    No mean is subtracted and there is no bias. `scale` is [d], initially ones.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., d] -> [..., d]
        """Normalises the last axis."""
        scale = hk.get_parameter("scale", [x.shape[-1]], jnp.float32, init=jnp.ones)
        y = x.astype(jnp.float32)
        y *= jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + EPSILON)
        # Explicit, so that a strict rank-promotion setting accepts the product.
        return (y * jnp.broadcast_to(scale, y.shape)).astype(x.dtype)
