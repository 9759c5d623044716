"""Norms over the last axis, computed in float32."""

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters

EPSILON = 1e-6


class _Norm(hk.Module):
    def __init__(self, axis: str = "embed", name: str | None = None):
        super().__init__(name=name)
        self.axis = axis


class RMSNorm(_Norm):
    """`x * rsqrt(mean(x^2) + 1e-6) * scale` over the last axis.

    No mean is subtracted and there is no bias. `scale` [d] is initialised to 1.

    Args:
        axis: name of the last axis, one of `parameters.AXES`.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., d] -> [..., d]
        """Normalises the last axis."""
        scale = parameters.make("scale", x.shape[-1:], (self.axis,), parameters.ones)
        y = x.astype(jnp.float32)
        y *= jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + EPSILON)
        # Explicit, so that a strict rank-promotion setting accepts the product.
        return (y * jnp.broadcast_to(scale, y.shape)).astype(x.dtype)


class LayerNorm(_Norm):
    """`(x - mean) * rsqrt(variance + 1e-6) * scale + offset` over the last axis.

    `scale` [d] is initialised to 1 and `offset` [d] to 0.

    Args:
        axis: name of the last axis, one of `parameters.AXES`.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., d] -> [..., d]
        """Normalises the last axis."""
        shape, axes = x.shape[-1:], (self.axis,)
        scale = parameters.make("scale", shape, axes, parameters.ones)
        offset = parameters.make("offset", shape, axes, parameters.zeros)
        y = x.astype(jnp.float32)
        y -= jnp.mean(y, axis=-1, keepdims=True)
        y *= jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + EPSILON)
        scale, offset = (jnp.broadcast_to(leaf, y.shape) for leaf in (scale, offset))
        return (y * scale + offset).astype(x.dtype)


NORMS: dict[str, type[hk.Module]] = {"rms": RMSNorm, "layer": LayerNorm}


def make(kind: str, name: str) -> hk.Module:
    """Returns a norm module; `kind` is one of `NORMS`."""
    return NORMS[kind](name=name)
