"""Argument checks shared by both convolutions."""

import jax
import jax.numpy as jnp

from clinometer.kernels import checks

MAX_TAPS = 63


def arguments(
    op: str,
    x: jax.Array,
    weights: jax.Array,
    weights_axes: str,
    mask: jax.Array | None,
    causal: bool,
) -> None:
    """Checks that x, weights and mask fit together.

    Args:
        op: the name of the operation in error messages.
        x: [B, S, d].
        weights: [..., H, K].
        weights_axes: the names of the axes of `weights`, separated by ", ".
        mask: bool [B, S], or None.
        causal: whether the convolution is causal.

    Raises:
        ValueError: if they do not fit; names the argument.
    """
    checks.floats(op, "x", x, "batch, length, channels")
    checks.floats(op, "weights", weights, weights_axes)
    num_heads, taps = weights.shape[-2:]
    if weights.ndim == 4 and weights.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"{op}: weights: must be of x's batch and length {x.shape[:2]}, got "
            f"{weights.shape[:2]}"
        )
    if x.shape[2] % num_heads:
        raise ValueError(
            f"{op}: weights has {num_heads} heads, which must divide the "
            f"{x.shape[2]} channels of x"
        )
    if taps > MAX_TAPS:
        raise ValueError(
            f"{op}: weights: has {taps} taps; accepted are 1 to {MAX_TAPS}"
        )
    if not causal and taps % 2 == 0:
        raise ValueError(
            f"{op}: weights: has {taps} taps; accepted is an odd number, as the window "
            "is centered, or causal=True"
        )
    if mask is not None:
        checks.exactly(op, "mask", mask, x.shape[:2], jnp.bool_)


def masked(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns x [B, S, d] with zeros where mask [B, S] is False.

    Args:
        x: [B, S, d].
        mask: bool [B, S], or None for all True.
    """
    if mask is None:
        return x
    return jnp.where(mask[:, :, None], x, jnp.zeros((), x.dtype))
