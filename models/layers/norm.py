"""Norms over the model axis, computed in float32."""

import haiku as hk
import jax
import jax.numpy as jnp

EPSILON = 1e-6


class RMSNorm(hk.Module):
    """`x * rsqrt(mean(x^2) + 1e-6) * scale` over the last axis.

    No mean is subtracted and there is no bias. `scale` is [d], initially ones.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., d] -> [..., d]
        """Normalises the last axis."""
        scale = hk.get_parameter("scale", [x.shape[-1]], jnp.float32, init=jnp.ones)
        y = x.astype(jnp.float32)
        y *= jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + EPSILON)
        # Explicit, so that a strict rank-promotion setting accepts the product.
        return (y * jnp.broadcast_to(scale, y.shape)).astype(x.dtype)


class LayerNorm(hk.Module):
    """`(x - mean) * rsqrt(variance + 1e-6) * scale + offset` over the last axis.

    `scale` and `offset` are [d], initially ones and zeros.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., d] -> [..., d]
        """Normalises the last axis."""
        shape = [x.shape[-1]]
        scale = hk.get_parameter("scale", shape, jnp.float32, init=jnp.ones)
        offset = hk.get_parameter("offset", shape, jnp.float32, init=jnp.zeros)
        y = x.astype(jnp.float32)
        y -= jnp.mean(y, axis=-1, keepdims=True)
        y *= jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + EPSILON)
        scale, offset = (jnp.broadcast_to(leaf, y.shape) for leaf in (scale, offset))
        return (y * scale + offset).astype(x.dtype)


NORMS: dict[str, type[hk.Module]] = {"rms": RMSNorm, "layer": LayerNorm}


def make(kind: str, name: str) -> hk.Module:
    """Returns the norm of a kind, one of `NORMS`."""
    return NORMS[kind](name=name)
