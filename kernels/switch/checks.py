"""Checks of what the Switch operations are given, before anything is traced."""

import jax
import jax.numpy as jnp

_MOST_SLOTS = 2**31 - 1


def floats(op: str, name: str, x: jax.Array, axes: str) -> None:
    """Requires a float32 or bfloat16 array with these axes, none of them empty."""
    if x.ndim != len(axes.split(", ")):
        raise ValueError(f"{op}: {name}: must be [{axes}], got shape {x.shape}")
    if x.dtype not in (jnp.float32, jnp.bfloat16):
        raise ValueError(f"{op}: {name}: must be float32 or bfloat16, got {x.dtype}")
    if 0 in x.shape:
        raise ValueError(f"{op}: {name}: has an empty axis, shape {x.shape}")


def exactly(
    op: str,
    name: str,
    x: jax.Array,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike,
) -> None:
    """Requires an array of this shape and dtype."""
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(
            f"{op}: {name}: must be {jnp.dtype(dtype).name} {shape}, got {x.dtype} "
            f"{x.shape}"
        )


def slots(op: str, num_experts: int, capacity: int) -> None:
    """Requires at least one slot, and a number of slots that fits 32 bits."""
    for name, value in (("num_experts", num_experts), ("capacity", capacity)):
        if value < 1:
            raise ValueError(f"{op}: {name}: must be at least 1, got {value}")
    if num_experts * capacity > _MOST_SLOTS:
        raise ValueError(
            f"{op}: capacity: {num_experts} experts of {capacity} slots are more than "
            f"{_MOST_SLOTS} slots"
        )
