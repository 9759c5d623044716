"""Multi-head attention with T5's conventions and relative position bias.

Shapes: B batch, T query length, S key length, d model width, H heads, G key-value
heads (H, or 1 when heads are shared), k width of a head.
"""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels import relative_attention
from clinometer.kernels.relative_attention import NUM_BUCKETS
from clinometer.kernels.relative_attention import relative_position_bucket
from clinometer.models import keys
from clinometer.models.layers import parameters
from clinometer.models.layers import projections

State = tuple[jax.Array, jax.Array]  # keys and values, [B, S, G, k] each


class RelativeBias(hk.Module):
    """Learned bias per head and relative position bucket, shared by a stack.

    The table [H, num_buckets] is Glorot-uniform on that shape
    (ARCHITECTURES.md#transformer-relative-position-bias).

    Args:
        num_heads: H.
    """

    def __init__(self, num_heads: int, name: str | None = None):
        super().__init__(name=name)
        self.num_heads = num_heads

    def __call__(self) -> jax.Array:  # [H, num_buckets], float32
        """Returns the table, for `RelativeAttention`."""
        shape = (self.num_heads, NUM_BUCKETS)
        init = parameters.glorot_uniform(*shape)
        return parameters.make("table", shape, ("heads", "relative_buckets"), init)


class RelativeAttention(projections.AttentionProjections):
    """Multi-head attention with a relative position bias.

    The parameters are those of `projections.AttentionProjections`.

    Args:
        num_heads: H.
        d_kv: k.
        num_kv_heads: G; None for H, 1 for a single shared head (operator SH).
        shared_kv: tie the key and value projections (operator SKV).
        causal: whether positions attend only to themselves and earlier ones.
        dropout_rate: dropout rate on the attention weights.
        broadcast_dropout: share the dropout mask along the query axis.
        implementation: implementation of the kernel; see `kernels.relative_attention`.
    """

    def __init__(
        self,
        num_heads: int,
        d_kv: int,
        num_kv_heads: int | None = None,
        shared_kv: bool = False,
        causal: bool = False,
        dropout_rate: float = 0.0,
        broadcast_dropout: bool = True,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(num_heads, d_kv, num_kv_heads, shared_kv, name=name)
        self.causal = causal
        self.dropout_rate = dropout_rate
        self.broadcast_dropout = broadcast_dropout
        self.implementation = implementation

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        key_value: tuple[jax.Array, jax.Array] | None = None,
        bias_table: jax.Array | None = None,
        query_segments: jax.Array | None = None,
        key_segments: jax.Array | None = None,
        query_offset: int | jax.Array = 0,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:  # [B, T, d]
        """Attends from x to keys and values.

        Args:
            x: inputs of the queries [B, T, d].
            key_value: keys and values from the method `key_value`, [B, S, G, k] each;
                None for those of x.
            bias_table: [H, num_buckets] from `RelativeBias`; None for no bias.
            query_segments: int [B, T]; queries attend to keys of their own segment.
            key_segments: int [B, S]; required with query_segments.
            query_offset: position of the first query among the keys.
            dropout_key: random key; None for evaluation.

        Returns:
            [B, T, d].
        """
        key, value = self.key_value(x) if key_value is None else key_value
        y = relative_attention(
            self.query(x),
            key,
            value,
            bias_table,
            causal=self.causal,
            query_offset=query_offset,
            query_segments=query_segments,
            key_segments=key_segments,
            dropout_rate=self.dropout_rate,
            dropout_key=keys.fold(dropout_key, "weights"),
            broadcast_dropout=self.broadcast_dropout,
            implementation=self.implementation,
        )
        return self.output(y, x.shape[-1])

    def init_state(self, batch_size: int, max_length: int, dtype: jnp.dtype) -> State:
        """Returns empty keys and values for `max_length` positions."""
        shape = (batch_size, max_length, self.num_kv_heads, self.d_kv)
        return jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)

    @hk.name_like("__call__")
    def step(
        self,
        x: jax.Array,  # [B, 1, d]
        state: State,
        bias_table: jax.Array | None,
        index: jax.Array,
    ) -> tuple[jax.Array, State]:
        """Attends from position `index` to itself and earlier positions.

        Args:
            x: [B, 1, d].
            state: keys and values, [B, S, G, k] each.
            bias_table: [H, num_buckets]; None for no bias.
            index: position, an int32 scalar.

        Returns:
            [B, 1, d] and the next state.
        """
        state = tuple(
            jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=1)
            for old, new in zip(state, self.key_value(x), strict=True)
        )
        return self(x, state, bias_table, query_offset=index), state

    @hk.name_like("__call__")
    def entropy(
        self,
        x: jax.Array,  # [B, T, d]
        key_value: State,
        bias_table: jax.Array | None,
        query_segments: jax.Array | None,  # [B, T]
        key_segments: jax.Array | None,  # [B, S]
    ) -> jax.Array:
        """Returns the mean entropy of the weights over heads and real queries, in nats.

        This is a diagnostic, which materialises all weights [B, H, T, S].

        Args:
            x: inputs of the queries [B, T, d].
            key_value: keys and values, [B, S, G, k] each.
            bias_table: [H, num_buckets]; None for no bias.
            query_segments: int [B, T], 0 at padding; None if there is none.
            key_segments: int [B, S]; likewise.
        """
        if query_segments is None:
            query_segments = jnp.ones(x.shape[:2], jnp.int32)
            key_segments = jnp.ones(key_value[0].shape[:2], jnp.int32)
        query, (key, _) = self.query(x), key_value
        key = jnp.repeat(key, self.num_heads // self.num_kv_heads, axis=2)
        logits = jnp.einsum(
            "bthk,bshk->bhts", query, key, preferred_element_type=jnp.float32
        )
        position = jnp.arange(key.shape[1])[None, :] - jnp.arange(x.shape[1])[:, None]
        if bias_table is not None:
            buckets = relative_position_bucket(position, bidirectional=not self.causal)
            logits += bias_table[:, buckets][None]
        mask = query_segments[:, None, :, None] == key_segments[:, None, None, :]
        if self.causal:
            mask &= (position <= 0)[None, None]
        log_weights = jax.nn.log_softmax(jnp.where(mask, logits, -jnp.inf), axis=-1)
        terms = jnp.where(mask, jnp.exp(log_weights) * log_weights, 0.0)
        is_real = (query_segments != 0)[:, None, :]
        count = self.num_heads * jnp.maximum(jnp.sum(is_real), 1)
        return -jnp.sum(jnp.where(is_real, jnp.sum(terms, axis=-1), 0.0)) / count
