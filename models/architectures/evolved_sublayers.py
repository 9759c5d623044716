"""What a cell of the Evolved Transformer has beside T5's sublayers.

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
from clinometer.models.layers import residual
from clinometer.models.layers import separable_conv
from clinometer.models.layers import sublayers

State = sublayers.State

# Taps of the decoder's convolutions; states hold the positions before the current one.
LEFT_TAPS, RIGHT_TAPS, INNER_TAPS = 11, 7, 7
ENCODER_TAPS = 9


class DecoderBias(NamedTuple):
    """Relative bias tables of a decoder.

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
        """Transforms every position alike."""
        value, gate = (
            parameters.dense(
                name, x, x.shape[-1], ("embed", "channels"), with_bias=True
            )
            for name in ("value", "gate")
        )
        return value * jax.nn.sigmoid(gate)


class EncoderConv(hk.Module):
    """Dense and convolutional branches, added, normalised and convolved.

    `drop(relu(x left)) + pad(drop(relu(x * conv)))`, 4 d channels of which the right
    branch has the first d / 2; full layer norm; separable convolution of width 9 to
    d / 2 channels; dropout; channels padded to d. `left` [d, 4 d] is
    TruncatedNormal(d^-1/2), `conv` [3, d, d / 2] Glorot-uniform.

    Args:
        config: of the architecture.
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
        """Convolution of width 3, [B, T, d] -> [B, T, d / 2], as one product."""
        d_model = x.shape[-1]
        shape = (3, d_model, d_model // 2)
        init = parameters.glorot_uniform(3 * d_model, 3 * (d_model // 2))
        axes = ("taps", "embed", "channels")
        kernel = parameters.make("conv", shape, axes, init).astype(x.dtype)
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        length = x.shape[1]
        shifted = [padded[:, shift : shift + length] for shift in range(3)]
        return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(3 * d_model, -1)


class DecoderConv(hk.Module):
    """Two causal separable convolutions, added, normalised and convolved again.

    `drop(relu(sep11(x))) + pad(drop(sep7(x)))`, 2 d channels of which the right branch
    has the first d / 2; full layer norm; separable convolution of width 7 to d
    channels; dropout.

    Args:
        config: of the architecture.
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
        """Transforms one position x [B, 1, d].

        The state is the inputs [B, 10, d] of the positions before, which serve both
        branches, and what the inner convolution got there, [B, 6, 2 d].
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
    """The gated linear unit.

    Attributes:
        module: `GatedLinearUnit`.
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
    """The convolutional block; only the decoder's runs position by position.

    Attributes:
        module: `EncoderConv` or `DecoderConv`.
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
        """Returns room for the positions before, see `DecoderConv.step`."""
        del max_length
        batch_size, _, d_model = context.memory.shape
        # Both branches see the longer one's window.
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
    """Self-attention in a decoder that has two bias tables.

    Attributes:
        table: which one of `DecoderBias`.
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
    """Self- and cross-attention of the same input, added.

    Attributes:
        to_self: self-attention, of more heads.
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
        """Returns the states of both."""
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
