"""What both convolutions require of their arguments."""

import jax
import jax.numpy as jnp

MAX_TAPS = 63


def arguments(
    op: str,
    x: jax.Array,
    weights: jax.Array,
    weights_axes: str,
    mask: jax.Array | None,
    causal: bool,
) -> None:
    """Raises ValueError unless x, weights and mask fit together."""
    if x.ndim != 3:
        raise ValueError(
            f"{op}: x: must be [batch, length, channels], got shape {x.shape}"
        )
    if weights.ndim != len(weights_axes.split(",")):
        raise ValueError(
            f"{op}: weights: must be [{weights_axes}], got shape {weights.shape}"
        )
    for name, array in (("x", x), ("weights", weights)):
        if array.dtype not in (jnp.float32, jnp.bfloat16):
            raise ValueError(
                f"{op}: {name}: must be float32 or bfloat16, got {array.dtype}"
            )
        if 0 in array.shape:
            raise ValueError(f"{op}: {name}: has an empty axis, shape {array.shape}")
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
            "is centred, or causal=True"
        )
    if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != jnp.bool_):
        raise ValueError(
            f"{op}: mask: must be bool {x.shape[:2]}, got {mask.dtype} {mask.shape}"
        )


def masked(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns x, zero where the mask is False."""
    if mask is None:
        return x
    return jnp.where(mask[:, :, None], x, jnp.zeros((), x.dtype))
