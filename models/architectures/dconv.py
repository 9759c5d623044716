"""Transformers with dynamic convolution instead of self-attention.

See ARCHITECTURES.md#dynamic-convolution; Wu et al. 2019. As `lconv`, but each position
predicts its own filters, one per head, from the convolution's gated input. The form is
fairseq's; `pointwise` adds the dense layer that follows every convolution in Mesh
TensorFlow. Not implemented are Mesh TensorFlow's prediction of filters (a dense layer
with bias per tap, K d^2 parameters) and fairseq's renormalisation at the ends of a
sequence, which is off there by default.

Shapes: S encoder length, T decoder length, d model width, H heads, K taps.
"""

import dataclasses

from clinometer.models.architectures import architecture
from clinometer.models.architectures import lconv
from clinometer.models.counting import closed_form
from clinometer.models.layers import convolution
from clinometer.models.seq2seq import model as seq2seq


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(lconv.ConvolutionConfig):
    """Shape and options of a Transformer with dynamic convolutions.

    Attributes:
        pointwise: add a dense layer between convolution and output projection.
    """

    pointwise: bool = False

    def __post_init__(self):
        super().__post_init__()
        self._check_heads_divide_channels()


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def make_convolution(causal: bool) -> convolution.DynamicConv:
        return convolution.DynamicConv(
            config.num_heads,
            config.kernel_size,
            causal,
            config.pointwise,
            config.dropconnect_rate,
            config.implementation,
            name="self_convolution",
        )

    return lconv.make_convolution_network(config, make_convolution)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    d, dense = config.d_model, 4 if config.pointwise else 3
    filters = d * config.num_heads * config.kernel_size
    return lconv.convolution_params(config, dense * (d**2 + d) + filters)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form."""
    d, dense = config.d_model, 4 if config.pointwise else 3
    filters = d * config.num_heads * config.kernel_size
    position = dense * d**2 + filters + config.kernel_size * d
    return lconv.convolution_macs(config, encoder_length, decoder_length, position)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    refused_operators=lconv.REFUSED_OPERATORS,
    packs=False,
    family="no attention in the encoder",
    mark="hourglass",
    label="DConv",
)
