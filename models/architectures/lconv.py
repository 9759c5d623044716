"""Transformers with lightweight convolution instead of self-attention.

See ARCHITECTURES.md#lightweight-convolution; Wu et al. 2019. Cross-attention is T5's;
there is no relative bias, since convolutions depend on positions by themselves.
`conv_form` selects the layer of Mesh TensorFlow, which Tay et al. 2022 most likely used
("mtf": one filter per channel, and one more dense layer), or the original ("fairseq":
filters shared within num_heads blocks of channels). `models.LightConv` documents where
public code disagrees. In the original, kernel sizes range from 3 to 31 by layer; here
all layers have the same.

Packed examples would see each other.

Shapes: S encoder length, T decoder length, d model width, H heads, K taps.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from clinometer.kernels.convolution import MAX_TAPS
from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.counting import closed_form
from clinometer.models.layers import convolution
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

# Operators that act on the heads of self-attention, which these models do not have.
REFUSED_OPERATORS = dict.fromkeys(
    ("KV", "SH", "SKV"), "self-attention is a convolution"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvolutionConfig(config_lib.TransformerConfig):
    """Shape and options of a Transformer with convolutions instead of self-attention.

    Attributes:
        kernel_size: number of taps, K; odd, since the encoder's windows are centred.
        dropconnect_rate: DropConnect rate on the normalised filters.
    """

    kernel_size: int = 31
    dropconnect_rate: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.kernel_size % 2 == 0 or self.kernel_size > MAX_TAPS:
            raise config_lib.ConfigError(
                f"kernel_size: must be odd (the encoder's window is centred) and at "
                f"most {MAX_TAPS}, got {self.kernel_size}"
            )
        config_lib.check_share(self, "dropconnect_rate")

    def _check_heads_divide_channels(self) -> None:
        if self.d_model % self.num_heads:
            raise config_lib.ConfigError(
                f"num_heads: {self.num_heads} does not divide d_model, "
                f"{self.d_model}; the channels of a head share filters"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ConvolutionConfig):
    """Shape and options of a Transformer with lightweight convolutions.

    Attributes:
        conv_form: "mtf" or "fairseq".
    """

    conv_form: str = "mtf"

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "conv_form", convolution.FORMS)
        if self.conv_form == "fairseq":
            self._check_heads_divide_channels()


@dataclasses.dataclass(frozen=True)
class SelfConvolution:
    """Sublayer that convolves along the sequence.

    Attributes:
        module: the Haiku module.
    """

    module: convolution.LightConv | convolution.DynamicConv

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        y = self.module(x, context.segments != 0, dropout_key)
        return y, sublayers.Extras()

    def init_state(
        self, context: sublayers.SublayerContext, max_length: int, dtype: Any
    ) -> sublayers.State:
        """Returns zeros as the gated inputs of the K - 1 preceding positions."""
        del max_length
        batch_size, _, d_model = context.memory.shape
        return self.module.init_state(batch_size, d_model, dtype)

    def step(
        self, x: jax.Array, state: sublayers.State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, sublayers.State]:
        """See `sublayers.Sublayer`."""
        del context
        return self.module.step(x, state)


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def make_convolution(causal: bool) -> convolution.LightConv:
        return convolution.LightConv(
            config.num_heads if config.conv_form == "fairseq" else None,
            config.kernel_size,
            causal,
            config.conv_form,
            config.dropconnect_rate,
            config.implementation,
            name="self_convolution",
        )

    return make_convolution_network(config, make_convolution)


def make_convolution_network(
    config: ConvolutionConfig,
    make_convolution: Callable[[bool], convolution.LightConv | convolution.DynamicConv],
) -> seq2seq.Network:
    """Builds a network with convolutions instead of self-attention.

    Args:
        config: config of the architecture.
        make_convolution: (causal) -> the convolution module.
    """

    def encoder_sublayers() -> dict[str, sublayers.Sublayer]:
        return {
            "self_convolution": SelfConvolution(make_convolution(False)),
            "feed_forward": sublayers.position_wise(config),
        }

    def decoder_sublayers() -> dict[str, sublayers.Sublayer]:
        return {
            "self_convolution": SelfConvolution(make_convolution(True)),
            "cross_attention": sublayers.cross_attention(config),
            "feed_forward": sublayers.position_wise(config),
        }

    no_bias = encoder_decoder.no_bias
    return encoder_decoder.make_network(
        config,
        encoder_decoder.Encoder(config, encoder_sublayers, make_bias=no_bias),
        encoder_decoder.Decoder(config, decoder_sublayers, make_bias=no_bias),
    )


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    d, k = config.d_model, config.kernel_size
    if config.conv_form == "mtf":
        return convolution_params(config, 4 * d**2 + 5 * d + k * d)
    return convolution_params(config, 3 * d**2 + 3 * d + config.num_heads * k)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form."""
    dense = 4 if config.conv_form == "mtf" else 3
    d = config.d_model
    return convolution_macs(
        config, encoder_length, decoder_length, dense * d**2 + config.kernel_size * d
    )


def convolution_params(
    config: ConvolutionConfig, sublayer: int
) -> closed_form.ParamCounts:
    """Returns the parameters of a model with `sublayer` parameters per convolution."""
    feed_forward = closed_form.feed_forward_params(config)
    cross = closed_form.attention_params(config)
    norm = closed_form.norm_params(config)
    return closed_form.model_params(
        config,
        encoder_layer=sublayer + feed_forward + 2 * norm,
        decoder_layer=sublayer + cross + feed_forward + 3 * norm,
        bias_tables=0,
    )


def convolution_macs(
    config: ConvolutionConfig, encoder_length: int, decoder_length: int, position: int
) -> closed_form.Macs:
    """Returns the multiply-adds of a model, with `position` per convolved position."""
    return closed_form.model_macs(
        config,
        encoder_length,
        decoder_length,
        encoder_layer=encoder_length * position
        + closed_form.feed_forward_macs(config, encoder_length),
        decoder_layer=decoder_length * position
        + closed_form.attention_macs(config, decoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, decoder_length),
    )


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    refused_operators=REFUSED_OPERATORS,
    packs=False,
    family="no attention in the encoder",
    mark="triangle-left",
    label="LConv",
)
