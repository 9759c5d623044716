"""The sublayers of the Evolved Transformer that T5 does not have.

See ARCHITECTURES.md#evolved-transformer.

Shapes: B batch, T length of the stream, S encoder length, d model width, H heads.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.layers import norm
from clinometer.models.layers import parameters
from clinometer.models.layers import products
from clinometer.models.layers import residual
from clinometer.models.layers import separable_conv
from clinometer.models.layers import sublayers

State = sublayers.State

# Taps of the decoder's convolutions; its states hold the preceding positions.
LEFT_TAPS, RIGHT_TAPS, INNER_TAPS = 11, 7, 7
ENCODER_TAPS = 9


class DecoderBias(NamedTuple):
    """Relative bias tables of the decoder.

    Attributes:
        plain: [H, num_buckets].
        parallel: [heads of the parallel self-attention, num_buckets].
    """

    plain: jax.Array
    parallel: jax.Array


class GatedLinearUnit(hk.Module):
    """`(x value + b) * sigmoid(x gate + b)`, [B, T, d] -> [B, T, d].

    Kernels [d, d] are TruncatedNormal(d^-1/2), biases 0.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Transforms each position independently."""
        value, gate = (
            parameters.dense(
                name, x, x.shape[-1], ("embed", "channels"), with_bias=True
            )
            for name in ("value", "gate")
        )
        return value * jax.nn.sigmoid(gate)


class EncoderConv(hk.Module):
    """Convolutional block of the encoder.

    A dense and a convolutional branch are summed, `drop(relu(x left)) +
    pad(drop(relu(x * conv)))`, to 4 d channels, of which the right branch has the first
    d / 2. Then follow a full layer norm, a separable convolution of width 9 to d / 2
    channels, dropout, and padding of the channels to d. `left` [d, 4 d] is
    TruncatedNormal(d^-1/2), `conv` [3, d, d / 2] is Glorot-uniform.

    Args:
        config: config of the architecture.
    """

    def __init__(self, config: config_lib.TransformerConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, x: jax.Array, segments: jax.Array, dropout_key: jax.Array | None
    ) -> jax.Array:  # [B, T, d], [B, T] -> [B, T, d]
        """Transforms x, in which padding (segment 0) is zero."""
        config, d_model = self.config, x.shape[-1]
        axes = ("embed", "channels")
        left = jax.nn.relu(parameters.dense("left", x, 4 * d_model, axes))
        right = jax.nn.relu(self._conv(x))
        left = residual.drop(config, left, keys.fold(dropout_key, "left"))
        right = residual.drop(config, right, keys.fold(dropout_key, "right"))
        h = norm.LayerNorm("channels", name="norm")(
            left + _pad_channels(right, 4 * d_model)
        )
        y = separable_conv.SeparableConv(
            ENCODER_TAPS,
            d_model // 2,
            ("channels", "embed_part"),
            implementation=config.implementation,
            name="separable",
        )(residual.mask_padding(h, segments))
        y = residual.drop(config, y, keys.fold(dropout_key, "separable"))
        return _pad_channels(y, d_model)

    def _conv(self, x: jax.Array) -> jax.Array:
        """Applies the convolution of width 3 as one matrix product."""
        d_model = x.shape[-1]
        shape = (3, d_model, d_model // 2)
        init = parameters.glorot_uniform(3 * d_model, 3 * (d_model // 2))
        axes = ("taps", "embed", "channels")
        kernel = parameters.make("conv", shape, axes, init)
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        length = x.shape[1]
        shifted = [padded[:, shift : shift + length] for shift in range(3)]
        windows = jnp.concatenate(shifted, axis=-1)
        return products.dense(windows, kernel.reshape(3 * d_model, -1))


class DecoderConv(hk.Module):
    """Convolutional block of the decoder; all convolutions are causal.

    Two separable convolutions are summed, `drop(relu(sep11(x))) + pad(drop(sep7(x)))`,
    to 2 d channels, of which the right branch has the first d / 2. Then follow a full
    layer norm, a separable convolution of width 7 to d channels, and dropout.

    Args:
        config: config of the architecture.
    """

    def __init__(self, config: config_lib.TransformerConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, x: jax.Array, segments: jax.Array, dropout_key: jax.Array | None
    ) -> jax.Array:  # [B, T, d], [B, T] -> [B, T, d]
        """Transforms x, in which padding (segment 0) is zero."""
        left, right, inner = self._convolutions(x.shape[-1])
        h = self._join(left(x), right(x), dropout_key)
        y = inner(residual.mask_padding(h, segments))
        return residual.drop(self.config, y, keys.fold(dropout_key, "inner"))

    @hk.name_like("__call__")
    def step(self, x: jax.Array, state: State) -> tuple[jax.Array, State]:
        """Transforms one position.

        Args:
            x: [B, 1, d].
            state: the inputs [B, 10, d] of the preceding positions, which serve both
                branches, and the inner convolution's inputs [B, 6, 2 d].

        Returns:
            [B, 1, d] and the next state.
        """
        left, right, inner = self._convolutions(x.shape[-1])
        window = jnp.concatenate([state[0], x], axis=1)
        h = self._join(left.step(window), right.step(window), None)
        inner_window = jnp.concatenate([state[1], h], axis=1)
        return inner.step(inner_window), (window[:, 1:], inner_window[:, 1:])

    @hk.transparent
    def _convolutions(self, d_model: int) -> list[separable_conv.SeparableConv]:
        return [
            separable_conv.SeparableConv(
                taps, outputs, axes, True, self.config.implementation, name=name
            )
            for name, taps, outputs, axes in (
                ("left", LEFT_TAPS, 2 * d_model, ("embed", "channels")),
                ("right", RIGHT_TAPS, d_model // 2, ("embed", "channels")),
                ("inner", INNER_TAPS, d_model, ("channels", "embed")),
            )
        ]

    @hk.transparent
    def _join(
        self, left: jax.Array, right: jax.Array, dropout_key: jax.Array | None
    ) -> jax.Array:
        config = self.config
        left = jax.nn.relu(left)
        left = residual.drop(config, left, keys.fold(dropout_key, "left"))
        right = residual.drop(config, right, keys.fold(dropout_key, "right"))
        right = _pad_channels(right, left.shape[-1])
        return norm.LayerNorm("channels", name="norm")(left + right)


@dataclasses.dataclass(frozen=True)
class Glu(sublayers.Stateless):
    """Gated linear unit sublayer.

    Attributes:
        module: the Haiku module.
    """

    module: GatedLinearUnit

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        del context, dropout_key
        return self.module(x), sublayers.Extras()


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Convolutional block sublayer; only the decoder's can run step by step.

    Attributes:
        module: the Haiku module.
    """

    module: EncoderConv | DecoderConv

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        return self.module(x, context.segments, dropout_key), sublayers.Extras()

    def init_state(
        self, context: sublayers.SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns zeros for the preceding positions; see `DecoderConv.step`."""
        del max_length
        batch_size, _, d_model = context.memory.shape
        # Both branches share the window of the wider one.
        return (
            jnp.zeros((batch_size, LEFT_TAPS - 1, d_model), dtype),
            jnp.zeros((batch_size, INNER_TAPS - 1, 2 * d_model), dtype),
        )

    def step(
        self, x: jax.Array, state: State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `sublayers.Sublayer`."""
        del context
        return self.module.step(x, state)


@dataclasses.dataclass(frozen=True)
class DecoderSelfAttention(sublayers.SelfAttentionSublayer):
    """Self-attention sublayer of the decoder, which has two bias tables.

    Attributes:
        table: field of `DecoderBias` to use.
    """

    table: str = "plain"

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        return super().__call__(x, self._own(context), dropout_key)

    def step(
        self, x: jax.Array, state: State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `sublayers.Sublayer`."""
        return super().step(x, state, self._own(context))

    def _own(self, context: sublayers.SublayerContext) -> sublayers.SublayerContext:
        return context._replace(bias=getattr(context.bias, self.table))


@dataclasses.dataclass(frozen=True)
class ParallelAttention:
    """Sum of self- and cross-attention applied to the same input.

    Attributes:
        to_self: self-attention, with more heads.
        to_memory: cross-attention.
    """

    to_self: DecoderSelfAttention
    to_memory: sublayers.CrossAttentionSublayer

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        total, health = jnp.zeros_like(x), {}
        for name, attention in (("self", self.to_self), ("cross", self.to_memory)):
            y, extras = attention(x, context, keys.fold(dropout_key, name))
            total += y
            health.update({f"{name}/{key}": v for key, v in extras.health.items()})
        return total, sublayers.Extras(health=health)

    def init_state(
        self, context: sublayers.SublayerContext, max_length: int, dtype: Any
    ) -> State:
        """Returns the states of both attentions."""
        return tuple(
            attention.init_state(context, max_length, dtype)
            for attention in (self.to_self, self.to_memory)
        )

    def step(
        self, x: jax.Array, state: State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, State]:
        """See `sublayers.Sublayer`."""
        to_self, self_state = self.to_self.step(x, state[0], context)
        to_memory, memory_state = self.to_memory.step(x, state[1], context)
        return to_self + to_memory, (self_state, memory_state)


def _pad_channels(x: jax.Array, width: int) -> jax.Array:
    """Pads [B, T, C] with zeros to [B, T, width]."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[-1])))
