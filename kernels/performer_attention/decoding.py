"""Causal Performer attention one position at a time, with a state of constant size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import reference


class PerformerState(NamedTuple):
    """Sums over the keys so far, float32.

    Attributes:
        values: [B, H, D, D], of phi(k) v^T.
        keys: [B, H, D], of phi(k).
    """

    values: jax.Array
    keys: jax.Array


def performer_state(batch: int, num_heads: int, width: int) -> PerformerState:
    """Returns the state before the first position."""
    return PerformerState(
        jnp.zeros((batch, num_heads, width, width), jnp.float32),
        jnp.zeros((batch, num_heads, width), jnp.float32),
    )


def performer_step(
    state: PerformerState,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    epsilon: float = 1e-3,
) -> tuple[jax.Array, PerformerState]:
    """Attends from the next position to itself and to all before.

    Shapes: B batch, H heads, D width of a head.

    Args:
        state: of the positions before.
        query: [B, H, D].
        key: [B, H, D], of query's dtype.
        value: [B, H, D], of query's dtype.
        epsilon: as of `performer_attention`.

    Returns:
        Output [B, H, D], of query's dtype, as `performer_attention(causal=True)` gives
        for this position; and the state after it.

    Raises:
        ValueError: a shape does not fit the state; says which.
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.shape != state.keys.shape:
            raise ValueError(
                f"performer_step: {name}: must be {state.keys.shape}, got {x.shape}"
            )
    keys = reference.features(key, epsilon)
    products = keys[..., :, None] * value.astype(jnp.float32)[..., None, :]
    state = PerformerState(state.values + products, state.keys + keys)
    return performer_read(state, query, epsilon=epsilon), state


def performer_sums(
    key: jax.Array,
    value: jax.Array,
    key_mask: jax.Array | None = None,
    *,
    epsilon: float = 1e-3,
) -> PerformerState:
    """Returns the state after all keys of a memory that queries read one by one.

    Args:
        key: [B, S, H, D].
        value: [B, S, H, D], of key's dtype.
        key_mask: bool [B, S], False for padding; None for all True.
        epsilon: as of `performer_attention`.
    """
    keys = reference.features(key, epsilon)
    if key_mask is not None:
        seen = key_mask[:, :, None, None]
        keys, value = jnp.where(seen, keys, 0.0), jnp.where(seen, value, 0)
    return PerformerState(
        jnp.einsum("bshd,bshe->bhde", keys, value.astype(jnp.float32)),
        jnp.sum(keys, axis=1),
    )


def performer_read(
    state: PerformerState, query: jax.Array, *, epsilon: float = 1e-3
) -> jax.Array:
    """Attends from a query to all keys of a state, without adding one.

    Args:
        state: sums over keys.
        query: [B, H, D].
        epsilon: as of `performer_attention`.

    Returns:
        [B, H, D], of query's dtype.
    """
    queries = reference.features(query, epsilon)
    inverse = reference.inverse(jnp.einsum("bhd,bhd->bh", queries, state.keys))
    output = jnp.einsum("bhd,bhde->bhe", queries, state.values) * inverse[..., None]
    return output.astype(query.dtype)
