"""Argument checks shared by several operations; they run before anything is traced."""

import jax
import jax.numpy as jnp


def floats(op: str, name: str, x: jax.Array, axes: str) -> None:
    """Checks that an array is float32 or bfloat16, has these axes, and is not empty.

    Args:
        op: the name of the operation in error messages.
        name: the name of the argument.
        x: the array.
        axes: names of its axes, separated by ", ".

    Raises:
        ValueError: if the array does not fit; names the operation and the argument.
    """
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
    """Checks the shape and dtype of an array.

    Args:
        op: the name of the operation in error messages.
        name: the name of the argument.
        x: the array.
        shape: the required shape.
        dtype: the required dtype.

    Raises:
        ValueError: if the array does not fit; names the operation and the argument.
    """
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(
            f"{op}: {name}: must be {jnp.dtype(dtype).name} {shape}, got {x.dtype} "
            f"{x.shape}"
        )


def attention_arrays(
    op: str, query: jax.Array, key: jax.Array, value: jax.Array
) -> None:
    """Checks the arrays of an attention: all float32 or all bfloat16, none empty.

    Args:
        op: the name of the operation in error messages.
        query: [B, T, H, D].
        key: [B, S, G, D], where G divides H.
        value: [B, S, G, D].

    Raises:
        ValueError: if an array does not fit; names the operation and the argument.
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
