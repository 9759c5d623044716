"""The MLP-Mixer as an encoder, with T5's decoder.

See ARCHITECTURES.md#mlp-mixer; Tolstikhin et al. 2021. The decoder is T5's, as a Mixer
is not autoregressive. In every layer of the encoder, token mixing

    u = gelu(y^T w_in) w_out,   x = x + u^T

replaces self-attention: y [S, d] is the normalised stream with padding zeroed; all
channels share w_in [S, D_S] and w_out [D_S, S]. The usual feed-forward sublayer
follows. The encoder has no relative bias, as positions have separate weights, and
inputs have exactly S = `sequence_length` positions. Examples packed into one row would
be mixed with each other.

Tay et al. 2022 do not state D_S. Vision Mixers have 256, 384, 512 and 640 at S, B, L
and H; these are used here for tiny to small, base, large and xl, and xxl and xxxl; pico
to milli, which are meant for inputs of length 128, have 64. The vision models have
biases (`mixing_bias`); T5's convention has none. GELU is the tanh approximation.

Shapes: B batch, S input length, D_S hidden width of mixing, d model width.
"""

import dataclasses
from typing import Any

import haiku as hk
import jax

from clinometer.kernels.constraint import constrain
from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import parameters
from clinometer.models.layers import products
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

MIXING_WIDTHS = {
    **dict.fromkeys(("pico", "nano", "micro", "milli"), 64),
    **dict.fromkeys(("tiny", "mini", "small"), 256),
    "base": 384,
    **dict.fromkeys(("large", "xl"), 512),
    **dict.fromkeys(("xxl", "xxxl"), 640),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Mixer.

    Attributes:
        sequence_length: input length, S; shorter texts must be padded to it.
        mixing_width: hidden width of token mixing, D_S.
        mixing_bias: add biases to both projections of token mixing.
    """

    sequence_length: int = 512
    mixing_width: int = 384
    mixing_bias: bool = False

    def check_length(self, encoder_length: int) -> None:
        """Raises ConfigError unless the length is `sequence_length`."""
        if encoder_length != self.sequence_length:
            raise config_lib.ConfigError(
                f"sequence_length: this mixer takes inputs of length "
                f"{self.sequence_length}, got {encoder_length}; pad the inputs, or "
                f"build the model with sequence_length={encoder_length}"
            )


class TokenMixing(hk.Module):
    """MLP over positions, applied to each channel.

    The parameters are `wi` [S, D_S] and `wo` [D_S, S], TruncatedNormal(fan_in^-1/2),
    and optionally the biases `wi_bias` [D_S] and `wo_bias` [S], initialised to 0.

    Args:
        mixing_width: D_S.
        with_bias: add biases.
    """

    def __init__(self, mixing_width: int, with_bias: bool, name: str | None = None):
        super().__init__(name=name)
        self.mixing_width = mixing_width
        self.with_bias = with_bias

    def __call__(self, x: jax.Array) -> jax.Array:  # [B, S, d] -> [B, S, d]
        """Mixes the positions of x, which must be zero at padding."""
        hidden = self._project("wi", x, self.mixing_width, ("length", "mixing"))
        hidden = constrain(hidden, ("batch", "heads", None))
        hidden = jax.nn.gelu(hidden, approximate=True)
        return self._project("wo", hidden, x.shape[1], ("mixing", "length"))

    def _project(
        self, name: str, x: jax.Array, fan_out: int, axes: parameters.Axes
    ) -> jax.Array:
        """Projects [B, fan_in, d] to [B, fan_out, d]."""
        fan_in = x.shape[1]
        init = parameters.truncated_normal(fan_in)
        kernel = parameters.make(name, (fan_in, fan_out), axes, init)
        y = products.dense(x.swapaxes(1, 2), kernel).swapaxes(1, 2)
        if self.with_bias:
            bias = parameters.make(
                f"{name}_bias", (fan_out,), axes[1:], parameters.zeros
            )
            y += bias.astype(x.dtype)[None, :, None]
        return y


@dataclasses.dataclass(frozen=True)
class MixTokens:
    """Token mixing sublayer, for encoders only; it cannot run step by step.

    Attributes:
        config: config, which checks the input length.
        module: the Haiku module.
    """

    config: Config
    module: TokenMixing

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`."""
        del context, dropout_key
        self.config.check_length(x.shape[1])
        return self.module(x), sublayers.Extras()


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def make_sublayers() -> dict[str, Any]:
        mixing = TokenMixing(
            config.mixing_width, config.mixing_bias, name="token_mixing"
        )
        return {
            "token_mixing": MixTokens(config, mixing),
            "feed_forward": sublayers.position_wise(config),
        }

    encoder = encoder_decoder.Encoder(
        config, make_sublayers, make_bias=encoder_decoder.no_bias
    )
    network = encoder_decoder.make_network(
        config, encoder, transformer.make_decoder(config)
    )
    return dataclasses.replace(network, input_length=config.sequence_length)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    length, width = config.sequence_length, config.mixing_width
    mixing = 2 * length * width + (length + width if config.mixing_bias else 0)
    feed_forward = closed_form.feed_forward_params(config)
    norm = closed_form.norm_params(config)
    return closed_form.model_params(
        config,
        encoder_layer=mixing + feed_forward + 2 * norm,
        decoder_layer=2 * closed_form.attention_params(config)
        + feed_forward
        + 3 * norm,
        bias_tables=1,
    )


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form."""
    config.check_length(encoder_length)
    mixing = 2 * encoder_length * config.mixing_width * config.d_model
    return closed_form.model_macs(
        config,
        encoder_length,
        decoder_length,
        encoder_layer=mixing + closed_form.feed_forward_macs(config, encoder_length),
        decoder_layer=transformer.decoder_layer_macs(
            config, encoder_length, decoder_length
        ),
    )


def size_fields(size: str) -> dict[str, Any]:
    """Returns the hidden width of token mixing of a size."""
    return {"mixing_width": MIXING_WIDTHS[size]}


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    size_fields,
    length_field="sequence_length",
    packs=False,
    family="no attention in the encoder",
    mark="saltire",
)
