"""The Performer: linear attention with ReLU features instead of self-attention.

See ARCHITECTURES.md#performer; Choromanski et al. 2021, "generalized attention". Tay et
al. 2022 say only that they used the ReLU kernel and scaled the model like the vanilla
Transformer. Self-attention is linear, and absolute positions replace its relative bias;
everything else is T5's.

The paper does not say whether cross-attention is linear too, or how positions are
encoded, so both are options. Packed examples would see each other, since the sums over
keys exclude padding but do not distinguish segments.

Shapes: B batch, T length of a stream, S encoder length, d model width, H heads, k width
of a head.
"""

import dataclasses
from typing import Any

import jax

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.counting import closed_form
from clinometer.models.layers import performer_attention
from clinometer.models.layers import positions
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

POSITIONS = ("none", "sinusoid", "learned")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Performer.

    Attributes:
        performer_pos: absolute positions added to the embedded tokens: "none",
            "sinusoid" or "learned".
        max_length: number of positions in the table of "learned".
        kernel_epsilon: added to the features, relu(x) + epsilon; positive.
        linear_cross_attention: use linear attention for cross-attention too.
    """

    performer_pos: str = "sinusoid"
    max_length: int = 512
    kernel_epsilon: float = 1e-3
    linear_cross_attention: bool = False

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "performer_pos", POSITIONS)
        if self.kernel_epsilon <= 0:
            raise config_lib.ConfigError(
                f"kernel_epsilon: must be positive, got {self.kernel_epsilon}"
            )


@dataclasses.dataclass(frozen=True)
class PerformerSelfAttention:
    """Linear self-attention sublayer.

    Attributes:
        module: the Haiku module.
    """

    module: performer_attention.PerformerAttention

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`; there are no attention weights to drop out."""
        del dropout_key
        return self.module(x, key_mask=context.segments != 0), sublayers.Extras()

    def init_state(
        self, context: sublayers.SublayerContext, max_length: int, dtype: Any
    ) -> sublayers.State:
        """Returns empty sums, whose size does not depend on `max_length`."""
        del max_length, dtype
        return self.module.init_state(context.memory.shape[0])

    def step(
        self, x: jax.Array, state: sublayers.State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, sublayers.State]:
        """See `sublayers.Sublayer`."""
        del context
        return self.module.step(x, state)


@dataclasses.dataclass(frozen=True)
class PerformerCrossAttention:
    """Linear cross-attention sublayer.

    Attributes:
        module: the Haiku module.
    """

    module: performer_attention.PerformerAttention

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        del dropout_key
        key_value = self.module.key_value(context.memory)
        y = self.module(x, key_value, context.memory_segments != 0)
        return y, sublayers.Extras()

    def init_state(
        self, context: sublayers.SublayerContext, max_length: int, dtype: Any
    ) -> sublayers.State:
        """Returns the sums over the encoder's output."""
        del max_length, dtype
        return self.module.sums(context.memory, context.memory_segments != 0)

    def step(
        self, x: jax.Array, state: sublayers.State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, sublayers.State]:
        """See `sublayers.Sublayer`."""
        del context
        return self.module.read(x, state), state


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def make_attention(name: str, causal: bool) -> Any:
        return performer_attention.PerformerAttention(
            config.num_heads,
            config.d_kv,
            config.kv_heads,
            config.shared_kv,
            causal,
            config.kernel_epsilon,
            config.implementation,
            name=name,
        )

    def encoder_sublayers() -> dict[str, sublayers.Sublayer]:
        return {
            "self_attention": PerformerSelfAttention(
                make_attention("self_attention", False)
            ),
            "feed_forward": sublayers.position_wise(config),
        }

    def decoder_sublayers() -> dict[str, sublayers.Sublayer]:
        cross: sublayers.Sublayer = sublayers.cross_attention(config)
        if config.linear_cross_attention:
            cross = PerformerCrossAttention(make_attention("cross_attention", False))
        return {
            "self_attention": PerformerSelfAttention(
                make_attention("self_attention", True)
            ),
            "cross_attention": cross,
            "feed_forward": sublayers.position_wise(config),
        }

    no_bias = encoder_decoder.no_bias
    return encoder_decoder.make_network(
        config,
        encoder_decoder.Encoder(config, encoder_sublayers, make_bias=no_bias),
        encoder_decoder.Decoder(config, decoder_sublayers, make_bias=no_bias),
        positions=_make_positions(config),
    )


def _make_positions(config: Config) -> encoder_decoder.Positions | None:
    if config.performer_pos == "none":
        return None
    if config.performer_pos == "learned":
        return positions.LearnedPositions(
            config.max_length, config.d_model, name="position_embedding"
        )
    return lambda start, length: positions.sinusoids(start, length, config.d_model)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    attention = closed_form.attention_params(config)
    feed_forward = closed_form.feed_forward_params(config)
    norm = closed_form.norm_params(config)
    learned = config.performer_pos == "learned"
    return closed_form.model_params(
        config,
        encoder_layer=attention + feed_forward + 2 * norm,
        decoder_layer=2 * attention + feed_forward + 3 * norm,
        bias_tables=0,
        beside=config.max_length * config.d_model if learned else 0,
    )


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form.

    Raises:
        ConfigError: a sequence is longer than the table of learned positions.
    """
    longest = max(encoder_length, decoder_length)
    if config.performer_pos == "learned" and longest > config.max_length:
        raise config_lib.ConfigError(
            f"max_length: {config.max_length} learned positions are too few for "
            f"sequences of length {longest}"
        )
    if config.linear_cross_attention:
        cross = _linear_attention_macs(config, decoder_length, encoder_length)
    else:
        cross = closed_form.attention_macs(config, decoder_length, encoder_length)
    return closed_form.model_macs(
        config,
        encoder_length,
        decoder_length,
        encoder_layer=_linear_attention_macs(config, encoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, encoder_length),
        decoder_layer=_linear_attention_macs(config, decoder_length, decoder_length)
        + cross
        + closed_form.feed_forward_macs(config, decoder_length),
    )


def _linear_attention_macs(config: Config, num_queries: int, num_keys: int) -> int:
    """Counts projections, and per head a [k, k] product for every key and query."""
    return closed_form.projection_macs(config, num_queries, num_keys) + (
        (num_queries + num_keys) * config.num_heads * config.d_kv**2
    )


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    packs=False,
    family="cheaper attention",
    mark="cross",
)
