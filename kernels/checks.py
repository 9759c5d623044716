"""Checks of arguments that several operations share, made before anything is traced."""

import jax
import jax.numpy as jnp


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


def attention_arrays(
    op: str, query: jax.Array, key: jax.Array, value: jax.Array
) -> None:
    """Requires query [B, T, H, D], key and value [B, S, G, D], G a divisor of H.

    All are float32 or all bfloat16, and no axis is empty; else a ValueError names the
    operation and the argument.
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        floats(op, name, x, "batch, length, heads, width")
        if x.dtype != query.dtype:
            raise ValueError(
                f"{op}: {name}: must be of query's dtype; got {x.dtype} and "
                f"{query.dtype}"
            )
    batch, _, num_heads, width = query.shape
    wanted = (batch, key.shape[1], key.shape[2], width)
    for name, x in (("key", key), ("value", value)):
        if x.shape != wanted:
            raise ValueError(f"{op}: {name}: must be {wanted}, got {x.shape}")
    if num_heads % key.shape[2]:
        raise ValueError(
            f"{op}: key has {key.shape[2]} heads, which must divide the {num_heads} "
            "of query"
        )
