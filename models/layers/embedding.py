"""Token embedding and the logits over the vocabulary."""

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models.layers import parameters
from clinometer.models.layers import products


class TokenEmbedding(hk.Module):
    """Token embedding with a table [V, d] drawn from N(0, 1), without a multiplier.

    See ARCHITECTURES.md#transformer-embedding-and-logits.

    Args:
        vocab_size: V.
        d_model: d.
    """

    def __init__(self, vocab_size: int, d_model: int, name: str | None = None):
        super().__init__(name=name)
        self.shape = (vocab_size, d_model)

    @hk.name_like("__call__")
    def table(self) -> jax.Array:
        """Returns the table, float32 [V, d]."""
        init = parameters.normal(1.0)
        table = parameters.make("table", self.shape, ("vocab", "embed"), init)
        # Rows are looked up whole; else the compiler looks them up for all devices.
        return constrain(table, ("heads", None))

    def __call__(self, tokens: jax.Array, dtype: jnp.dtype) -> jax.Array:
        """Looks up int tokens [B, T]; returns [B, T, d] of `dtype`."""
        return self.table()[tokens].astype(dtype)


class Logits(hk.Module):
    """Output layer, tied to the token embedding or with a separate kernel.

    Tied logits are `(h d^-1/2) table^T`. Otherwise they are `h kernel`, without a
    multiplier; the kernel [d, V] is TruncatedNormal(d^-1/2)
    (ARCHITECTURES.md#transformer-embedding-and-logits).

    Args:
        vocab_size: V.
        scaled: whether to multiply h by d^-1/2; None for the rule above.
    """

    def __init__(
        self, vocab_size: int, scaled: bool | None = None, name: str | None = None
    ):
        super().__init__(name=name)
        self.vocab_size = vocab_size
        self.scaled = scaled

    def __call__(self, h: jax.Array, tied_table: jax.Array | None) -> jax.Array:
        """Computes the logits.

        Args:
            h: decoder output [B, T, d].
            tied_table: embedding table [V, d]; None for a separate kernel.

        Returns:
            Logits, float32 [B, T, V].
        """
        d_model = h.shape[-1]
        if self.scaled or (self.scaled is None and tied_table is not None):
            h = h * jnp.asarray(d_model**-0.5, h.dtype)
        if tied_table is not None:
            return products.dense(h, tied_table, jnp.float32, transpose_kernel=True)
        init = parameters.truncated_normal(d_model)
        shape = (d_model, self.vocab_size)
        kernel = parameters.make("kernel", shape, ("embed", "vocab"), init)
        return products.dense(h, kernel, jnp.float32)
