"""The vanilla Transformer, T5 1.0, the baseline of all other architectures.

See ARCHITECTURES.md#transformer. This is the pre-norm encoder-decoder of Raffel et al.
2020 as trained with Mesh TensorFlow: RMS norms, bucketed relative positions, no biases
and tied logits.

Shapes: S encoder length, T decoder length, d model width, L layers.
"""

from typing import Any

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.counting import closed_form
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

Config = config_lib.TransformerConfig


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""
    return encoder_decoder.make_network(
        config, make_encoder(config), make_decoder(config)
    )


def make_encoder(config: Config, **options: Any) -> encoder_decoder.Encoder:
    """Returns T5's encoder, whose layers are self-attention and feed-forward.

    Args:
        config: config of the architecture.
        **options: options of `encoder_decoder.Encoder`.
    """

    def make_sublayers() -> dict[str, sublayers.Sublayer]:
        return {
            "self_attention": sublayers.self_attention(config, causal=False),
            "feed_forward": sublayers.position_wise(config),
        }

    return encoder_decoder.Encoder(config, make_sublayers, **options)


def make_decoder(config: Config, **options: Any) -> encoder_decoder.Decoder:
    """Returns T5's decoder: self-attention, cross-attention and feed-forward.

    Args:
        config: config of the architecture.
        **options: options of `encoder_decoder.Decoder`.
    """

    def make_sublayers() -> dict[str, sublayers.Sublayer]:
        return {
            "self_attention": sublayers.self_attention(config, causal=True),
            "cross_attention": sublayers.cross_attention(config),
            "feed_forward": sublayers.position_wise(config),
        }

    return encoder_decoder.Decoder(config, make_sublayers, **options)


def param_counts(config: Config, beside: int = 0) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form, plus `beside` further ones."""
    attention = closed_form.attention_params(config)
    feed_forward = closed_form.feed_forward_params(config)
    norm = closed_form.norm_params(config)
    return closed_form.model_params(
        config,
        encoder_layer=attention + feed_forward + 2 * norm,
        decoder_layer=2 * attention + feed_forward + 3 * norm,
        beside=beside,
    )


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form."""
    return closed_form.model_macs(
        config,
        encoder_length,
        decoder_length,
        encoder_layer=closed_form.attention_macs(config, encoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, encoder_length),
        decoder_layer=decoder_layer_macs(config, encoder_length, decoder_length),
    )


def decoder_layer_macs(config: Config, encoder_length: int, decoder_length: int) -> int:
    """Returns the multiply-adds of one layer of T5's decoder, for one example."""
    return (
        closed_form.attention_macs(config, decoder_length, decoder_length)
        + closed_form.attention_macs(config, decoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, decoder_length)
    )


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    family="vanilla",
    mark="circle",
)
