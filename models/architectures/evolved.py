"""The Evolved Transformer: cells of convolutions, gates and attention.

See ARCHITECTURES.md#evolved-transformer; So et al. 2019 as implemented in Mesh
TensorFlow and Tensor2Tensor. Every item of a cell is a T5-like sublayer. Encoder cell:
gated linear unit, convolutional block, self-attention, feed-forward. Decoder cell:
self-attention with twice the heads in parallel with cross-attention, convolutional
block, self-attention, cross-attention, feed-forward with Swish. A cell stands for two
layers: a size of L layers has L / 2 cells per stack; the papers do not state it.

Where sources disagree: Tensor2Tensor caps the doubled heads at 16 (or at H, if H is
larger), as `cap_parallel_heads` does, and applies dropout to each branch of the
parallel attention, which this model does not. Mesh TensorFlow treats tokens of id 0 as
padding, and so zeroes the decoder's first input of the convolutions; here only padding
is zero. Examples packed into one row see each other through the convolutions.

Shapes: S encoder length, T decoder length, d model width, H heads.
"""

import dataclasses

from clinometer.kernels.relative_attention import NUM_BUCKETS
from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import evolved_sublayers
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import attention
from clinometer.models.layers import feed_forward
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of an Evolved Transformer.

    `num_encoder_layers` and `num_decoder_layers` must be even, with two per cell.

    Attributes:
        decoder_ffn_activation: activation of the decoder's feed-forward sublayers;
            `ffn_activation` is the encoder's.
        cap_parallel_heads: cap the doubled heads of the decoder's parallel
            self-attention at 16 (or at num_heads, if larger), as Tensor2Tensor.
    """

    decoder_ffn_activation: str = "swish"
    cap_parallel_heads: bool = False

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(
            self, "decoder_ffn_activation", feed_forward.ACTIVATIONS
        )
        for field in ("num_encoder_layers", "num_decoder_layers", "d_model"):
            if getattr(self, field) % 2:
                reason = "a convolution has half as many channels"
                if field != "d_model":
                    reason = "a cell stands for two layers"
                raise config_lib.ConfigError(
                    f"{field}: must be even, as {reason}; got {getattr(self, field)}"
                )

    @property
    def parallel_heads(self) -> int:
        """Heads of the self-attention in parallel with cross-attention."""
        if self.cap_parallel_heads:
            return max(self.num_heads, min(2 * self.num_heads, 16))
        return 2 * self.num_heads


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def make_encoder_cell() -> dict[str, sublayers.Sublayer]:
        return {
            "glu": evolved_sublayers.Glu(evolved_sublayers.GatedLinearUnit("glu")),
            "conv": evolved_sublayers.Convolution(
                evolved_sublayers.EncoderConv(config, "conv")
            ),
            "self_attention": sublayers.self_attention(config, causal=False),
            "feed_forward": sublayers.position_wise(config),
        }

    def make_decoder_cell() -> dict[str, sublayers.Sublayer]:
        to_self = sublayers.make_attention(
            config,
            "parallel_self_attention",
            causal=True,
            num_heads=config.parallel_heads,
        )
        own = sublayers.make_attention(config, "self_attention", causal=True)
        return {
            "parallel_attention": evolved_sublayers.ParallelAttention(
                evolved_sublayers.DecoderSelfAttention(to_self, "parallel"),
                sublayers.cross_attention(config, "parallel_cross_attention"),
            ),
            "conv": evolved_sublayers.Convolution(
                evolved_sublayers.DecoderConv(config, "conv")
            ),
            "self_attention": evolved_sublayers.DecoderSelfAttention(own, "plain"),
            "cross_attention": sublayers.cross_attention(config),
            "feed_forward": sublayers.position_wise(_decoder_config(config)),
        }

    def make_decoder_bias() -> evolved_sublayers.DecoderBias:
        return evolved_sublayers.DecoderBias(
            attention.RelativeBias(config.num_heads, "relative_bias")(),
            attention.RelativeBias(config.parallel_heads, "parallel_relative_bias")(),
        )

    encoder = encoder_decoder.Encoder(
        config, make_encoder_cell, num_layers=config.num_encoder_layers // 2
    )
    decoder = encoder_decoder.Decoder(
        config,
        make_decoder_cell,
        num_layers=config.num_decoder_layers // 2,
        make_bias=make_decoder_bias,
    )
    return encoder_decoder.make_network(config, encoder, decoder)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    d_model = config.d_model
    square = d_model**2
    norm = closed_form.norm_params(config)
    attention_params = closed_form.attention_params(config)
    glu = 2 * square + 2 * d_model
    encoder_conv = 4 * square + 3 * square // 2  # Both branches.
    encoder_conv += 8 * d_model  # Layer norm.
    encoder_conv += (36 + 4) * d_model + 2 * square + d_model // 2
    decoder_conv = (11 + 1) * d_model + 2 * square + 2 * d_model
    decoder_conv += (7 + 1) * d_model + square // 2 + d_model // 2
    decoder_conv += 4 * d_model  # Layer norm.
    decoder_conv += (14 + 2) * d_model + 2 * square + d_model
    encoder_cell = glu + encoder_conv + attention_params + 4 * norm
    encoder_cell += closed_form.feed_forward_params(config)
    decoder_cell = (
        closed_form.attention_params(_parallel_config(config))
        + 3 * attention_params
        + decoder_conv
        + closed_form.feed_forward_params(_decoder_config(config))
        + 5 * norm
    )
    return closed_form.model_params(
        _cells(config),
        encoder_layer=encoder_cell,
        decoder_layer=decoder_cell,
        beside=NUM_BUCKETS * config.parallel_heads,
    )


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form."""
    d_model = config.d_model
    square = d_model**2
    encoder_conv = 4 * square + 3 * square // 2 + 36 * d_model + 2 * square
    decoder_conv = 11 * d_model + 2 * square
    decoder_conv += 7 * d_model + square // 2
    decoder_conv += 14 * d_model + 2 * square
    encoder_cell = (
        encoder_length * (2 * square + encoder_conv)
        + closed_form.attention_macs(config, encoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, encoder_length)
    )
    decoder_cell = (
        closed_form.attention_macs(
            _parallel_config(config), decoder_length, decoder_length
        )
        + closed_form.attention_macs(config, decoder_length, encoder_length)
        + decoder_length * decoder_conv
        + transformer.decoder_layer_macs(
            _decoder_config(config), encoder_length, decoder_length
        )
    )
    return closed_form.model_macs(
        _cells(config),
        encoder_length,
        decoder_length,
        encoder_layer=encoder_cell,
        decoder_layer=decoder_cell,
    )


def _decoder_config(config: Config) -> Config:
    """Returns the config with the decoder's activation."""
    return dataclasses.replace(config, ffn_activation=config.decoder_ffn_activation)


def _parallel_config(config: Config) -> Config:
    """Returns the config with the heads of the parallel self-attention."""
    return dataclasses.replace(config, num_heads=config.parallel_heads)


def _cells(config: Config) -> config_lib.TransformerConfig:
    """Returns a config of the same widths with one layer per cell."""
    fields = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config_lib.TransformerConfig)
    }
    for name in ("num_encoder_layers", "num_decoder_layers"):
        fields[name] //= 2
    return config_lib.TransformerConfig(**fields)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    packs=False,
    family="richer layers",
    mark="triangle-up",
)
