"""Dropout whose mask may be shared along an axis, as Mesh TensorFlow draws it."""

import jax
import jax.numpy as jnp


def dropout(
    x: jax.Array,
    rate: float,
    key: jax.Array | None,
    shared_axes: tuple[int, ...] = (),
) -> jax.Array:
    """Zeroes entries of `x` at `rate` and scales the rest by 1 / (1 - rate).

    Args:
        x: any shape and float dtype.
        rate: probability of a zero, in [0, 1).
        key: random key; None means evaluation and returns `x` as it is.
        shared_axes: axes along which one mask value is shared
            (ARCHITECTURES.md#transformer-dropout).
    """
    if key is None or rate == 0.0:
        return x
    mask_shape = [1 if i in shared_axes else n for i, n in enumerate(x.shape)]
    keep = jax.random.bernoulli(key, 1.0 - rate, mask_shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
