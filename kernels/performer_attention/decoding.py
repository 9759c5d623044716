"""Causal Performer attention step by step, with a state of constant size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import reference


class PerformerState(NamedTuple):
    """Sums over the keys so far.

    Attributes:
        values: float32 [B, H, D, D], the sum of phi(k) v^T.
        keys: float32 [B, H, D], the sum of phi(k).
    """

    values: jax.Array
    keys: jax.Array


def performer_state(batch: int, num_heads: int, width: int) -> PerformerState:
    """Returns the state before the first position.

    Args:
        batch: B.
        num_heads: H.
        width: D, the head width.
    """
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
    """Attends from the next position to itself and all earlier positions.

    Shapes: B batch, H heads, D head width.

    Args:
        state: the state after the earlier positions.
        query: [B, H, D].
        key: [B, H, D], of query's dtype.
        value: [B, H, D], of query's dtype.
        epsilon: see `performer_attention`.

    Returns:
        The output [B, H, D], of query's dtype, as `performer_attention(causal=True)`
        gives for this position, and the new state.

    Raises:
        ValueError: if a shape does not match the state; names the argument.
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
    """Returns the state after all keys, for queries that read it with `performer_read`.

    Args:
        key: [B, S, H, D].
        value: [B, S, H, D], of key's dtype.
        key_mask: bool [B, S], False for padding; None for all True.
        epsilon: see `performer_attention`.
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
    """Attends from a query to all keys of a state, without adding a key.

    Args:
        state: the sums over keys.
        query: [B, H, D].
        epsilon: see `performer_attention`.

    Returns:
        [B, H, D], of query's dtype.
    """
    queries = reference.features(query, epsilon)
    inverse = reference.inverse(jnp.einsum("bhd,bhd->bh", queries, state.keys))
    output = jnp.einsum("bhd,bhde->bhe", queries, state.values) * inverse[..., None]
    return output.astype(query.dtype)
