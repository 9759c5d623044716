"""The projections of multi-head attention with T5's conventions.

Shapes: B batch, T query length, S key length, d model width, H heads, G key-value
heads (H, or 1 when heads are shared), k width of a head.
"""

import haiku as hk
import jax
import jax.numpy as jnp


class AttentionProjections(hk.Module):
    """What is around every attention kernel; no biases.

    Parameters `query` [d, H k], `key` and `value` [d, G k] (one `key_value` when tied)
    and `output` [H k, d] are two-dimensional, so that Adafactor factors them. Plain
    normal initialisers: query (d k)^-1/2, key and value d^-1/2, output (H k)^-1/2.
    There is no 1/sqrt(k), which T5 folds into the query's initialiser
    (ARCHITECTURES.md#transformer-attention).

    Args:
        num_heads: H.
        d_kv: k.
        num_kv_heads: G; None for H, 1 shares one key-value head (operator SH).
        shared_kv: tie the key and value projections (operator SKV).
    """

    def __init__(
        self,
        num_heads: int,
        d_kv: int,
        num_kv_heads: int | None = None,
        shared_kv: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.num_heads = num_heads
        self.d_kv = d_kv
        self.num_kv_heads = num_kv_heads or num_heads
        self.shared_kv = shared_kv

    @hk.name_like("__call__")
    def query(self, x: jax.Array) -> jax.Array:
        """Projects [B, T, d] to queries, [B, T, H, k]."""
        std = (x.shape[-1] * self.d_kv) ** -0.5
        return self._project("query", x, self.num_heads, std)

    @hk.name_like("__call__")
    def key_value(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Projects [B, S, d] to keys and values, [B, S, G, k] each."""
        std = memory.shape[-1] ** -0.5
        if self.shared_kv:
            tied = self._project("key_value", memory, self.num_kv_heads, std)
            return tied, tied
        return (
            self._project("key", memory, self.num_kv_heads, std),
            self._project("value", memory, self.num_kv_heads, std),
        )

    @hk.name_like("__call__")
    def output(self, y: jax.Array, d_model: int) -> jax.Array:
        """Projects what the heads read, [B, T, H, k], to [B, T, d]."""
        inner = self.num_heads * self.d_kv
        init = hk.initializers.RandomNormal(inner**-0.5)
        kernel = hk.get_parameter("output", [inner, d_model], jnp.float32, init)
        return y.reshape(*y.shape[:2], inner) @ kernel.astype(y.dtype)

    def _project(self, name: str, x: jax.Array, heads: int, std: float) -> jax.Array:
        init = hk.initializers.RandomNormal(std)
        shape = [x.shape[-1], heads * self.d_kv]
        kernel = hk.get_parameter(name, shape, jnp.float32, init)
        return (x @ kernel.astype(x.dtype)).reshape(*x.shape[:2], heads, self.d_kv)
