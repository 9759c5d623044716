"""Absolute position embeddings, for models without a relative bias.

Shapes: T length, d model width.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters

_LONGEST_PERIOD = 10_000.0


def sinusoids(start: jax.Array | int, length: int, d_model: int) -> jax.Array:
    """Returns sinusoidal position embeddings (Vaswani et al. 2017).

    The first half of the channels are sines of frequencies from 1 down to about
    1 / 10,000 per position; the second half are their cosines.

    Args:
        start: first position.
        length: number of positions.
        d_model: number of channels.

    Returns:
        float32 [length, d_model].
    """
    half = -(-d_model // 2)
    frequencies = _LONGEST_PERIOD ** (-jnp.arange(half, dtype=jnp.float32) / half)
    position = (start + jnp.arange(length)).astype(jnp.float32)
    angles = jnp.outer(position, frequencies)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :d_model]


class LearnedPositions(hk.Module):
    """Learned position embeddings, a table [max_length, d] drawn from N(0, 1).

    Args:
        max_length: number of positions.
        d_model: d.
    """

    def __init__(self, max_length: int, d_model: int, name: str | None = None):
        super().__init__(name=name)
        self.max_length = max_length
        self.d_model = d_model

    def __call__(self, start: jax.Array | int, length: int) -> jax.Array:
        """Returns the embeddings of consecutive positions.

        Args:
            start: first position.
            length: number of positions.

        Returns:
            float32 [length, d].

        Raises:
            ValueError: the sequence is longer than the table.
        """
        if length > self.max_length:
            raise ValueError(
                f"LearnedPositions: a sequence of length {length} exceeds max_length, "
                f"{self.max_length}"
            )
        shape = (self.max_length, self.d_model)
        init = parameters.normal(1.0)
        table = parameters.make("table", shape, ("position", "embed"), init)
        return jax.lax.dynamic_slice_in_dim(table, start, length)
