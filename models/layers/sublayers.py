"""Sublayers, the parts of a layer, each of which updates the residual stream.

A sublayer runs on whole sequences, and step by step with its own state. It is a thin
wrapper around a module and is created anew in every method of its layer, so that Haiku
finds the same parameters each time.

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
    """The inputs of sublayers besides the residual stream.

    Attributes:
        segments: segment ids, int32 [B, T], 0 at padding; None if there is none and
            every row is one sequence.
        bias: the stack's relative bias, usually the table [H, num_buckets].
        memory: the encoder's output [B, S, d]; None in an encoder.
        memory_segments: segment ids of `memory`, int32 [B, S].
        index: the position being decoded, int32 scalar; None for whole sequences.
        collect_health: include diagnostics that are too costly for every step.
    """

    segments: jax.Array | None
    bias: Any = None
    memory: jax.Array | None = None
    memory_segments: jax.Array | None = None
    index: jax.Array | None = None
    collect_health: bool = False


class Extras(NamedTuple):
    """The outputs of a sublayer besides its update.

    Attributes:
        loss: auxiliary loss, a float32 scalar that is added to the objective.
        health: diagnostics, {name: array}.
    """

    loss: jax.Array | float = 0.0
    health: dict[str, jax.Array] = {}


class Sublayer(Protocol):
    """The interface of a sublayer; inputs `x` are normalised and zero at padding."""

    def __call__(
        self, x: jax.Array, context: SublayerContext, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, Extras]:
        """Returns the update [B, T, d] for whole sequences x [B, T, d], and extras."""

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns the initial state for decoding at most `max_length` positions."""

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """Returns the update [B, 1, d] for one position, and the next state."""


class Stateless:
    """Base class of sublayers that treat each position independently."""

    def init_state(
        self, context: SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns an empty state."""
        del context, max_length, dtype
        return ()

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """Applies the sublayer to a sequence of length 1."""
        return self(x, context, None)[0], state


@dataclasses.dataclass(frozen=True)
class SelfAttentionSublayer:
    """Self-attention sublayer with a relative bias.

    Attributes:
        module: the Haiku module.
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
        """Returns empty keys and values, [B, max_length, G, k] each."""
        return self.module.init_state(context.memory.shape[0], max_length, dtype)

    def step(
        self, x: jax.Array, state: State, context: SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `Sublayer`."""
        return self.module.step(x, state, context.bias, context.index)


@dataclasses.dataclass(frozen=True)
class CrossAttentionSublayer:
    """Cross-attention sublayer, without a relative bias.

    Attributes:
        module: the Haiku module.
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
        """Returns the keys and values of the encoder's output, [B, S, G, k] each."""
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
    """Feed-forward sublayer.

    Attributes:
        module: the Haiku module.
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
    """Returns the attention module that a config describes.

    Args:
        config: config of the architecture.
        name: name of the module.
        causal: whether positions attend only to themselves and earlier ones.
        num_heads: number of heads; None for that of the config.
    """
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
    """Returns the self-attention sublayer that a config describes."""
    return SelfAttentionSublayer(make_attention(config, name, causal=causal))


def cross_attention(
    config: config_lib.TransformerConfig, name: str = "cross_attention"
) -> CrossAttentionSublayer:
    """Returns the cross-attention sublayer that a config describes."""
    return CrossAttentionSublayer(make_attention(config, name))


def position_wise(
    config: config_lib.TransformerConfig, name: str = "feed_forward"
) -> FeedForwardSublayer:
    """Returns the feed-forward sublayer that a config describes."""
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
    key_segments: jax.Array | None,
    context: SublayerContext,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, Extras]:
    args = (x, key_value, bias_table, context.segments, key_segments)
    health = {}
    if context.collect_health:
        # The weights are computed for this only, so for the first example only.
        first = jax.tree.map(lambda leaf: leaf[:1], (x, key_value))
        segments = jax.tree.map(lambda leaf: leaf[:1], args[3:])
        health["entropy"] = module.entropy(*first, bias_table, *segments)
    return module(*args, dropout_key=dropout_key), Extras(health=health)
