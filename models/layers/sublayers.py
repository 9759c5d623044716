"""The items that layers are made of: each an update of the residual stream.

A sublayer runs over whole sequences, and position by position with a state of its own.
It is a thin shell around one module, made anew in every method of its layer, so that
Haiku gives it the same parameters each time.

Shapes: B batch, T length of the stream, S encoder length, d model width, H heads, G
key-value heads, k width of a head.
"""

import dataclasses
from typing import Any
from typing import NamedTuple
from typing import Protocol

import jax

from clinometer.models import config as config_lib
from clinometer.models.layers import attention
from clinometer.models.layers import feed_forward

State = Any  # a tree of arrays [B, ...]


class SublayerContext(NamedTuple):
    """What sublayers see beside the residual stream.

    Attributes:
        segments: int32 [B, T], 0 at padding.
        bias: what the stack's relative bias is; for most the table [H, num_buckets].
        memory: [B, S, d], the encoder's output; None in an encoder.
        memory_segments: int32 [B, S].
        index: int32 scalar, the position that is being decoded; None over sequences.
        collect_health: measure also what costs more than it is worth at each step.
    """

    segments: jax.Array
    bias: Any = None
    memory: jax.Array | None = None
    memory_segments: jax.Array | None = None
    index: jax.Array | None = None
    collect_health: bool = False


class Extras(NamedTuple):
    """What a sublayer says beside its update.

    Attributes:
        loss: float32 scalar, added to the objective.
        health: {name: array}.
    """

    loss: jax.Array | float = 0.0
    health: dict[str, jax.Array] = {}


class Sublayer(Protocol):
    """An item of a layer; `x` is normalised and zero at padding."""

    def __call__(
        self, x: jax.Array, context: SublayerContext, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, Extras]:
        """Returns the update [B, T, d] of whole sequences x [B, T, d]."""

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns the state before the first of at most `max_length` positions."""

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """Returns the update [B, 1, d] of one position x [B, 1, d] and the state."""


class Stateless:
    """A sublayer whose positions do not see each other."""

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns a state of nothing."""
        del context, max_length, dtype
        return ()

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """Runs over a sequence of one."""
        return self(x, context, None)[0], state


@dataclasses.dataclass(frozen=True)
class SelfAttentionSublayer:
    """Relative attention of the stream to itself.

    Attributes:
        module: `attention.RelativeAttention`.
    """

    module: attention.RelativeAttention

    def __call__(
        self, x: jax.Array, context: SublayerContext, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, Extras]:
        """See `Sublayer`."""
        return _attend(
            self.module,
            x,
            self.module.key_value(x),
            context.bias,
            context.segments,
            context,
            dropout_key,
        )

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns room for keys and values, [B, max_length, G, k] each."""
        return self.module.init_state(context.memory.shape[0], max_length, dtype)

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `Sublayer`."""
        return self.module.step(x, state, context.bias, context.index)


@dataclasses.dataclass(frozen=True)
class CrossAttentionSublayer:
    """Attention of the stream to the encoder's output, without a bias.

    Attributes:
        module: `attention.RelativeAttention`.
    """

    module: attention.RelativeAttention

    def __call__(
        self, x: jax.Array, context: SublayerContext, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, Extras]:
        """See `Sublayer`."""
        return _attend(
            self.module,
            x,
            self.module.key_value(context.memory),
            None,
            context.memory_segments,
            context,
            dropout_key,
        )

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns keys and values of the memory, [B, S, G, k] each."""
        del max_length, dtype
        return self.module.key_value(context.memory)

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `Sublayer`."""
        y = self.module(
            x,
            state,
            query_segments=context.segments,
            key_segments=context.memory_segments,
        )
        return y, state


@dataclasses.dataclass(frozen=True)
class FeedForwardSublayer(Stateless):
    """The position-wise network.

    Attributes:
        module: `feed_forward.FeedForward`.
    """

    module: feed_forward.FeedForward

    def __call__(
        self, x: jax.Array, context: SublayerContext, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, Extras]:
        """See `Sublayer`."""
        del context
        return self.module(x, dropout_key), Extras()


def make_attention(
    config: config_lib.TransformerConfig,
    name: str,
    *,
    causal: bool = False,
    num_heads: int | None = None,
) -> attention.RelativeAttention:
    """Returns the attention module of a config; num_heads is None for the config's."""
    heads = num_heads or config.num_heads
    return attention.RelativeAttention(
        heads,
        config.d_kv,
        config.num_kv_heads or heads,
        config.shared_kv,
        causal,
        config.dropout_rate,
        config.broadcast_dropout,
        config.implementation,
        name=name,
    )


def self_attention(
    config: config_lib.TransformerConfig, *, causal: bool, name: str = "self_attention"
) -> SelfAttentionSublayer:
    """Returns self-attention as the config has it."""
    return SelfAttentionSublayer(make_attention(config, name, causal=causal))


def cross_attention(
    config: config_lib.TransformerConfig, name: str = "cross_attention"
) -> CrossAttentionSublayer:
    """Returns cross-attention as the config has it."""
    return CrossAttentionSublayer(make_attention(config, name))


def position_wise(
    config: config_lib.TransformerConfig, name: str = "feed_forward"
) -> FeedForwardSublayer:
    """Returns the feed-forward sublayer as the config has it."""
    module = feed_forward.FeedForward(
        config.ffn_width,
        config.ffn_activation,
        config.dropout_rate,
        config.broadcast_dropout,
        name=name,
    )
    return FeedForwardSublayer(module)


def _attend(
    module: attention.RelativeAttention,
    x: jax.Array,
    key_value: tuple[jax.Array, jax.Array],
    bias_table: jax.Array | None,
    key_segments: jax.Array,
    context: SublayerContext,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, Extras]:
    args = (x, key_value, bias_table, context.segments, key_segments)
    health = {}
    if context.collect_health:
        # Weights that nothing else needs: of the first example only.
        first = jax.tree.map(lambda leaf: leaf[:1], (x, key_value))
        health["entropy"] = module.entropy(
            *first, bias_table, context.segments[:1], key_segments[:1]
        )
    return module(*args, dropout_key=dropout_key), Extras(health=health)
