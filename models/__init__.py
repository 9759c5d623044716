"""Transformer-like encoder-decoders in Haiku, by name.

    model = clinometer.models.build("transformer-small")
    params = model.init(jax.random.key(0))
    logits = model.apply(params, encoder_input_tokens, decoder_input_tokens)

Imports nothing of Clinometer but `kernels`.
"""

import sys

if sys.flags.optimize:
    from clinometer.kernels.options.errors import OptionError

    # Under -O Haiku names parameters differently, and under -OO it cannot be imported.
    raise OptionError(
        "Haiku does not work under python -O: unset PYTHONOPTIMIZE, and leave -O out"
    )

from clinometer.models import counts
from clinometer.models import decoding
from clinometer.models import loss
from clinometer.models import own
from clinometer.models.attention import RelativeAttention
from clinometer.models.attention import RelativeBias
from clinometer.models.config import ConfigError
from clinometer.models.config import TransformerConfig
from clinometer.models.convolution import DynamicConv
from clinometer.models.convolution import LightConv
from clinometer.models.embedding import Logits
from clinometer.models.embedding import TokenEmbedding
from clinometer.models.feed_forward import FeedForward
from clinometer.models.grammar import ModelNameError
from clinometer.models.norm import RMSNorm
from clinometer.models.performer_attention import PerformerAttention
from clinometer.models.registry import ARCHITECTURES
from clinometer.models.registry import build
from clinometer.models.seq2seq import Model
from clinometer.models.seq2seq import Outputs
from clinometer.models.sizes import SIZES
from clinometer.models.stack import is_stacked
from clinometer.models.stack import stack_params
from clinometer.models.stack import unstack_params
from clinometer.models.switch_ffn import SwitchFFN
from clinometer.models.switch_ffn import SwitchMetrics

__all__ = [
    "ARCHITECTURES",
    "SIZES",
    "ConfigError",
    "DynamicConv",
    "FeedForward",
    "LightConv",
    "Logits",
    "Model",
    "ModelNameError",
    "Outputs",
    "PerformerAttention",
    "RMSNorm",
    "RelativeAttention",
    "RelativeBias",
    "SwitchFFN",
    "SwitchMetrics",
    "TokenEmbedding",
    "TransformerConfig",
    "build",
    "counts",
    "decoding",
    "is_stacked",
    "loss",
    "stack_params",
    "unstack_params",
]

# Last, so that a file of the user's finds all of this.
own.load(ARCHITECTURES)
