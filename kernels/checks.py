"""Checks of arguments that several operations share, made before anything is traced."""

import jax
import jax.numpy as jnp


def attention_arrays(
    op: str, query: jax.Array, key: jax.Array, value: jax.Array
) -> None:
    """Requires query [B, T, H, D], key and value [B, S, G, D], G a divisor of H.

    All are float32 or all bfloat16, and no axis is empty; else a ValueError names the
    operation and the argument.
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim != 4:
            raise ValueError(
                f"{op}: {name}: must be [batch, length, heads, width], got shape "
                f"{x.shape}"
            )
        if x.dtype not in (jnp.float32, jnp.bfloat16) or x.dtype != query.dtype:
            raise ValueError(
                f"{op}: {name}: must be float32 or bfloat16 and of query's dtype; "
                f"got {x.dtype} and {query.dtype}"
            )
        if 0 in x.shape:
            raise ValueError(f"{op}: {name}: has an empty axis, shape {x.shape}")
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
