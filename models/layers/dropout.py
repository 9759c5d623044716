"""Dropout whose mask can be shared along axes, as in Mesh TensorFlow."""

import jax
import jax.numpy as jnp


def dropout(
    x: jax.Array,
    rate: float,
    key: jax.Array | None,
    shared_axes: tuple[int, ...] = (),
) -> jax.Array:
    """Zeroes entries of `x` with probability `rate`, scales others by 1 / (1 - rate).

    Args:
        x: array of any shape and float dtype.
        rate: probability of a zero, in [0, 1).
        key: random key; None for evaluation, which returns `x` unchanged.
        shared_axes: axes along which one mask value is shared
            (ARCHITECTURES.md#transformer-dropout).

    Returns:
        An array like `x`.
    """
    if key is None or rate == 0.0:
        return x
    mask_shape = [1 if i in shared_axes else n for i, n in enumerate(x.shape)]
    keep = jax.random.bernoulli(key, 1.0 - rate, mask_shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
