"""Multi-head attention with T5's conventions, and its relative position bias.

Shapes: B batch, T query length, S key length, d model width, H heads, G key-value
heads (H, or 1 when heads are shared), k width of a head.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels import relative_attention
from clinometer.models import dropout
from clinometer.models import keys

MASKED_LOGIT = -1e9


class RelativeBias(hk.Module):
    """A learned bias per head and relative position bucket, shared by one stack.

    The table is [H, num_buckets], Glorot-uniform on that shape (spec §1.3).
    """

    def __init__(self, num_heads: int, bidirectional: bool, name: str | None = None):
        super().__init__(name=name)
        self.num_heads = num_heads
        self.bidirectional = bidirectional

    def __call__(  # [T], [S] -> [H, T, S], float32
        self, query_positions: jax.Array, key_positions: jax.Array
    ) -> jax.Array:
        """Returns the bias of every query and key position."""
        shape = [self.num_heads, relative_attention.NUM_BUCKETS]
        limit = (6.0 / sum(shape)) ** 0.5
        init = hk.initializers.RandomUniform(-limit, limit)
        table = hk.get_parameter("table", shape, jnp.float32, init)
        buckets = relative_attention.relative_position_bucket(
            key_positions[None, :] - query_positions[:, None],
            bidirectional=self.bidirectional,
        )
        return jnp.take(table, buckets, axis=1)


def segment_mask(query_segments: jax.Array, key_segments: jax.Array) -> jax.Array:
    """Returns bool [B, 1, T, S]: whether query and key are of the same segment."""
    return (query_segments[:, :, None] == key_segments[:, None, :])[:, None]


def causal_mask(query_positions: jax.Array, key_positions: jax.Array) -> jax.Array:
    """Returns bool [1, 1, T, S]: whether the key is not after the query."""
    return (key_positions[None, :] <= query_positions[:, None])[None, None]


def dot_product_attention(
    query: jax.Array,  # [B, T, H, k]
    key: jax.Array,  # [B, S, G, k]
    value: jax.Array,  # [B, S, G, k]
    bias: jax.Array | None,  # [H, T, S]
    mask: jax.Array,  # bool, broadcasts to [B, H, T, S]; True is attended
    dropout_rate: float = 0.0,
    broadcast_dropout: bool = True,
    dropout_key: jax.Array | None = None,
) -> jax.Array:  # [B, T, H, k]
    """Softmax attention without 1/sqrt(k), which T5 folds into its initialiser.

    Logits and softmax are float32. A query with no key to attend to spreads its
    weight evenly, as adding a mask of -1e9 does (spec §1.3).
    """
    num_heads = query.shape[2]
    key, value = (_repeat_heads(x, num_heads) for x in (key, value))
    logits = jnp.einsum(
        "bthk,bshk->bhts", query, key, preferred_element_type=jnp.float32
    )
    if bias is not None:
        logits += jnp.broadcast_to(bias[None], logits.shape)
    weights = jax.nn.softmax(jnp.where(mask, logits, MASKED_LOGIT), axis=-1)
    shared_axes = (2,) if broadcast_dropout else ()
    weights = dropout.dropout(weights, dropout_rate, dropout_key, shared_axes)
    return jnp.einsum("bhts,bshk->bthk", weights.astype(value.dtype), value)


class MultiHeadAttention(hk.Module):
    """Projections around `dot_product_attention`; no biases.

    Parameters `query` [d, H k], `key` and `value` [d, G k] (one `key_value` when tied)
    and `output` [H k, d] are two-dimensional, so that Adafactor factors them. Plain
    normal initialisers: query (d k)^-1/2, key and value d^-1/2, output (H k)^-1/2.

    Args:
        num_heads: H.
        d_kv: k.
        num_kv_heads: G; 1 shares one key-value head among all (spec §13, SH).
        shared_kv: tie the key and value projections (spec §13, SKV).
        dropout_rate: rate on the attention weights.
        broadcast_dropout: share the mask along the query axis.
    """

    def __init__(
        self,
        num_heads: int,
        d_kv: int,
        num_kv_heads: int,
        shared_kv: bool = False,
        dropout_rate: float = 0.0,
        broadcast_dropout: bool = True,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.num_heads = num_heads
        self.d_kv = d_kv
        self.num_kv_heads = num_kv_heads
        self.shared_kv = shared_kv
        self.dropout_rate = dropout_rate
        self.broadcast_dropout = broadcast_dropout

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

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        key_value: tuple[jax.Array, jax.Array],  # of `key_value`
        bias: jax.Array | None,
        mask: jax.Array,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:  # [B, T, d]
        """Attends from x to keys and values."""
        d_model = x.shape[-1]
        std = (d_model * self.d_kv) ** -0.5
        y = dot_product_attention(
            self._project("query", x, self.num_heads, std),
            *key_value,
            bias,
            mask,
            self.dropout_rate,
            self.broadcast_dropout,
            keys.fold(dropout_key, "weights"),
        )
        inner = self.num_heads * self.d_kv
        init = hk.initializers.RandomNormal(inner**-0.5)
        kernel = hk.get_parameter("output", [inner, d_model], jnp.float32, init)
        return y.reshape(*y.shape[:2], inner) @ kernel.astype(x.dtype)

    def _project(self, name: str, x: jax.Array, heads: int, std: float) -> jax.Array:
        init = hk.initializers.RandomNormal(std)
        shape = [x.shape[-1], heads * self.d_kv]
        kernel = hk.get_parameter(name, shape, jnp.float32, init)
        return (x @ kernel.astype(x.dtype)).reshape(*x.shape[:2], heads, self.d_kv)


def _repeat_heads(x: jax.Array, num_heads: int) -> jax.Array:
    """Lets each key-value head serve its query heads: [B, S, G, k] -> [B, S, H, k]."""
    return x if x.shape[2] == num_heads else jnp.repeat(x, num_heads // x.shape[2], 2)
