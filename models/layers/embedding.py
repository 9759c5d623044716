"""Token embedding and the logits over the vocabulary."""

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters


class TokenEmbedding(hk.Module):
    """One table [V, d], plain normal of deviation 1, with no multiplier.

    See ARCHITECTURES.md#transformer-embedding-and-logits.
    """

    def __init__(self, vocab_size: int, d_model: int, name: str | None = None):
        super().__init__(name=name)
        self.shape = (vocab_size, d_model)

    @hk.name_like("__call__")
    def table(self) -> jax.Array:
        """Returns the table, float32 [V, d]."""
        init = parameters.normal(1.0)
        return parameters.make("table", self.shape, ("vocab", "embed"), init)

    def __call__(self, tokens: jax.Array, dtype: jnp.dtype) -> jax.Array:
        """Looks up int tokens [B, T]; returns [B, T, d] of `dtype`."""
        return self.table()[tokens].astype(dtype)


class Logits(hk.Module):
    """Logits [B, T, V], float32: tied to the embedding, or by a matrix of their own.

    Tied logits are `(h d^-1/2) table^T`; an own kernel [d, V] is TruncatedNormal of
    deviation d^-1/2 and takes no multiplier
    (ARCHITECTURES.md#transformer-embedding-and-logits).
    """

    def __init__(self, vocab_size: int, name: str | None = None):
        super().__init__(name=name)
        self.vocab_size = vocab_size

    def __call__(self, h: jax.Array, tied_table: jax.Array | None) -> jax.Array:
        """Projects h [B, T, d]; `tied_table` is [V, d], or None for an own kernel."""
        d_model = h.shape[-1]
        if tied_table is not None:
            h = h * jnp.asarray(d_model**-0.5, h.dtype)
            equation, kernel = "btd,vd->btv", tied_table
        else:
            init = parameters.truncated_normal(d_model)
            shape = (d_model, self.vocab_size)
            kernel = parameters.make("kernel", shape, ("embed", "vocab"), init)
            equation = "btd,dv->btv"
        return jnp.einsum(
            equation, h, kernel.astype(h.dtype), preferred_element_type=jnp.float32
        )
