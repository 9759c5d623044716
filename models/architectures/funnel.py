"""The Funnel Transformer, whose encoder halves the sequence between blocks.

See ARCHITECTURES.md#funnel-transformer.

The encoder is divided into equal blocks. In the first layer of every block except the
first, self-attention runs with its residual on the long sequence; then neighbours 2i
and 2i + 1 of the residual stream are pooled, and the feed-forward sublayer and all that
follows run on the short sequence. Relative distances are counted in pooled positions;
all blocks share one bias table. The decoder is T5's and attends to the short sequence.

Source: Dai et al. 2020, as in Mesh TensorFlow. Where public code disagrees: the
authors' code pools the queries only, and has a decoder that up-samples. Mesh TensorFlow
also pools padding, which then makes up half of the last vector of an odd length; this
is the option `masked_pooling=False`. By default, the second element of a pair is
included only if it has the segment of the first, so that neither padding nor packed
neighbours have an influence. Each layer runs once (Mesh TensorFlow's `repeat_size` is
1).

There are three blocks where the depth allows it; Tay et al. 2022 do not state the
number.

Shapes: B batch, S input length, S' pooled length S / 2^(n-1) with n blocks, d width.
"""

import dataclasses
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import layer as layer_lib
from clinometer.models.layers import remat
from clinometer.models.layers import residual
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

POOLINGS = ("mean", "max", "min")
# Overrides for sizes whose depth is not a multiple of three.
_BLOCKS = dict.fromkeys(("pico", "nano", "micro", "milli", "tiny", "mini"), 2)
_BLOCKS |= {"xxxl": 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Funnel Transformer.

    Attributes:
        num_blocks: number of blocks n, a divisor of the encoder's depth; input lengths
            must be multiples of 2^(n-1).
        pooling: how pairs are pooled: "mean", "max" or "min".
        masked_pooling: exclude padding and elements of another segment than the pair's
            first element.
    """

    num_blocks: int = 3
    pooling: str = "mean"
    masked_pooling: bool = True

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "pooling", POOLINGS)
        if self.num_encoder_layers % self.num_blocks:
            raise config_lib.ConfigError(
                f"num_blocks: {self.num_blocks} blocks do not divide "
                f"num_encoder_layers, {self.num_encoder_layers}"
            )

    @property
    def reduction(self) -> int:
        """Factor by which the encoder shortens its input, 2^(n-1)."""
        return 2 ** (self.num_blocks - 1)

    def pooled_length(self, encoder_length: int) -> int:
        """Returns S'; raises ConfigError unless S is a multiple of `reduction`."""
        if encoder_length % self.reduction:
            raise config_lib.ConfigError(
                f"encoder length {encoder_length}: must be a multiple of "
                f"{self.reduction}, as {self.num_blocks} blocks (num_blocks) halve it "
                f"{self.num_blocks - 1} times"
            )
        return encoder_length // self.reduction


class _Block(hk.Module):
    """Layers of one length; the first one pools, except in the first block."""

    def __init__(self, config: Config, first_layer: int, name: str):
        super().__init__(name=name)
        self.config = config
        self.first_layer = first_layer

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, sublayers.Extras]:
        """Returns x, segments and extras; health has a leading axis of layers."""
        config = self.config
        num_layers = config.num_encoder_layers // config.num_blocks
        segments, first_layer, parts = context.segments, self.first_layer, []

        def attention_part() -> dict[str, sublayers.Sublayer]:
            return {"self_attention": sublayers.self_attention(config, causal=False)}

        def feed_forward_part() -> dict[str, sublayers.Sublayer]:
            return {"feed_forward": sublayers.position_wise(config)}

        def both_parts() -> dict[str, sublayers.Sublayer]:
            return {**attention_part(), **feed_forward_part()}

        if first_layer:
            pooling_layer = layer_lib.Layer(config, "pooling_layer")
            key = keys.fold(dropout_key, "layer", first_layer)
            context = context._replace(segments=segments[:, ::2])

            def pool_within(x: jax.Array) -> tuple[jax.Array, sublayers.Extras]:
                long = context._replace(segments=segments)
                x, attention = pooling_layer(attention_part, x, long, key)
                x = pool(x, segments, config.pooling, masked=config.masked_pooling)
                x, feed_forward = pooling_layer(feed_forward_part, x, context, key)
                return x, sublayers.Extras(
                    attention.loss + feed_forward.loss,
                    {**attention.health, **feed_forward.health},
                )

            x, extras = remat.wrap(pool_within, config.remat)(x)
            parts.append(jax.tree.map(lambda leaf: leaf[None], extras))
            num_layers, first_layer = num_layers - 1, first_layer + 1

        def make_layer(name: str) -> stack.LayerFunction:
            layer = layer_lib.Layer(config, name)

            def apply(x: jax.Array, index: jax.Array, _: None) -> Any:
                key = keys.fold(dropout_key, "layer", first_layer + index)
                return layer(both_parts, x, context, key)

            return apply

        if num_layers:
            x, extras = stack.run_layers(
                make_layer, num_layers, x, scan=config.scan_layers, remat=config.remat
            )
            parts.append(extras)
        return x, context.segments, _concatenate(parts)


class Encoder(hk.Module):
    """Encoder of blocks, each of which halves the length of the previous one.

    Args:
        config: config of the architecture.
    """

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: jax.Array,  # [B, S, d]
        segments: jax.Array,  # [B, S]
        mode: seq2seq.ForwardOptions,
    ) -> tuple[seq2seq.Encoded, sublayers.Extras]:
        """Encodes embedded tokens.

        Args:
            x: embedded tokens [B, S, d].
            segments: int [B, S], 0 at padding.
            mode: how to run the forward pass.

        Returns:
            The encoded [B, S', d] and its segments [B, S'], and extras.

        Raises:
            ConfigError: S is not a multiple of `config.reduction`.
        """
        config, key = self.config, mode.dropout_key
        config.pooled_length(x.shape[1])
        bias = encoder_decoder.relative_bias(config)()
        x = residual.drop(config, x, keys.fold(key, "input"))
        parts = []
        for index in range(config.num_blocks):
            context = sublayers.SublayerContext(
                segments, bias, collect_health=mode.collect_health
            )
            first_layer = index * (config.num_encoder_layers // config.num_blocks)
            block = _Block(config, first_layer, f"block_{index}")
            x, segments, extras = block(x, context, key)
            parts.append(extras)
        x = residual.finish(config, x, segments, key)
        extras = _concatenate(parts)
        extras = sublayers.Extras(jnp.sum(extras.loss), extras.health)
        return seq2seq.Encoded(x, segments), extras


def pool(
    x: jax.Array,  # [B, S, d]
    segments: jax.Array,  # [B, S]
    kind: str,
    *,
    masked: bool,
) -> jax.Array:  # [B, S / 2, d]
    """Pools neighbours 2i and 2i + 1, in float32.

    Args:
        x: [B, S, d], S even.
        segments: int [B, S], 0 at padding.
        kind: one of `POOLINGS`.
        masked: exclude elements of another segment than the pair's first element; the
            result is 0 where that is padding.

    Returns:
        [B, S / 2, d], of the dtype of x.
    """
    batch, length, d_model = x.shape
    pairs = x.reshape(batch, length // 2, 2, d_model).astype(jnp.float32)
    ids = segments.reshape(batch, length // 2, 2, 1)
    used = (ids == ids[:, :, :1]) & (ids != 0)
    if not masked:
        used = jnp.ones_like(used)
    if kind == "mean":
        total = jnp.sum(jnp.where(used, pairs, 0.0), axis=2)
        y = total / jnp.maximum(jnp.sum(used, axis=2), 1)
    else:
        sign = 1.0 if kind == "max" else -1.0
        most = jnp.max(jnp.where(used, sign * pairs, -jnp.inf), axis=2)
        y = jnp.where(jnp.any(used, axis=2), sign * most, 0.0)
    return y.astype(x.dtype)


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""
    network = encoder_decoder.make_network(
        config, Encoder(config, name="encoder"), transformer.make_decoder(config)
    )
    return dataclasses.replace(network, input_length=config.reduction)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form.

    Every layer counts at its own length, the attention of pooling layers at the length
    before pooling.
    """
    pooled = config.pooled_length(encoder_length)
    encoder, length, longer = 0, encoder_length, encoder_length
    per_block = config.num_encoder_layers // config.num_blocks
    for _ in range(config.num_blocks):
        attention = closed_form.attention_macs(config, length, length)
        encoder += closed_form.attention_macs(config, longer, longer)
        encoder += (per_block - 1) * attention
        encoder += per_block * closed_form.feed_forward_macs(config, length)
        length, longer = length // 2, length
    decoder_layer = transformer.decoder_layer_macs(config, pooled, decoder_length)
    macs = closed_form.model_macs(
        config,
        encoder_length,
        decoder_length,
        encoder_layer=0,
        decoder_layer=decoder_layer,
    )
    return dataclasses.replace(macs, body=macs.body + encoder)


def size_fields(size: str) -> dict[str, Any]:
    """Returns the number of blocks of a size, if it is not the default."""
    return {"num_blocks": _BLOCKS[size]} if size in _BLOCKS else {}


def _concatenate(parts: list[sublayers.Extras]) -> sublayers.Extras:
    """Concatenates extras along their axis of layers."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    transformer.param_counts,
    forward_macs,
    size_fields,
    family="cheaper attention",
    mark="triangle-down",
)
