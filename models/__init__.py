"""Transformer-like models in Haiku, built by name.

    model = clinometer.models.build("transformer-small")
    params = model.init(jax.random.key(0))
    logits = model.apply(params, encoder_input_tokens, decoder_input_tokens)

This package depends on no other part of Clinometer than `kernels`.
"""

import sys

if sys.flags.optimize:
    from clinometer.kernels.options.errors import OptionError

    # Under -O Haiku names parameters differently, and under -OO it cannot be imported.
    raise OptionError(
        "Haiku does not work under python -O: unset PYTHONOPTIMIZE and do not pass -O"
    )

from clinometer.models import decoding
from clinometer.models.architectures import own
from clinometer.models.architectures.architecture import Architecture
from clinometer.models.architectures.grammar import ModelNameError
from clinometer.models.architectures.registry import ARCHITECTURES
from clinometer.models.architectures.registry import IMAGE_ARCHITECTURES
from clinometer.models.architectures.registry import architecture_of
from clinometer.models.architectures.registry import build
from clinometer.models.architectures.registry import register
from clinometer.models.architectures.registry import size_of
from clinometer.models.architectures.registry import takes_images
from clinometer.models.architectures.sizes import SIZES
from clinometer.models.config import ConfigError
from clinometer.models.config import TransformerConfig
from clinometer.models.counting import counts
from clinometer.models.layers.attention import RelativeAttention
from clinometer.models.layers.attention import RelativeBias
from clinometer.models.layers.convolution import DynamicConv
from clinometer.models.layers.convolution import LightConv
from clinometer.models.layers.embedding import Logits
from clinometer.models.layers.embedding import TokenEmbedding
from clinometer.models.layers.feed_forward import FeedForward
from clinometer.models.layers.norm import RMSNorm
from clinometer.models.layers.performer_attention import PerformerAttention
from clinometer.models.layers.stack import is_stacked
from clinometer.models.layers.stack import stack_axes
from clinometer.models.layers.stack import stack_params
from clinometer.models.layers.stack import unstack_params
from clinometer.models.layers.switch_ffn import SwitchFFN
from clinometer.models.layers.switch_ffn import SwitchMetrics
from clinometer.models.model import Batch
from clinometer.models.model import Loss
from clinometer.models.model import LossOutputs
from clinometer.models.model import Model
from clinometer.models.model import Shape
from clinometer.models.seq2seq import batch
from clinometer.models.seq2seq import loss
from clinometer.models.seq2seq.batch import TextShape
from clinometer.models.seq2seq.model import EncoderDecoder
from clinometer.models.vision import batch as image_batch
from clinometer.models.vision.batch import ImageShape
from clinometer.models.vision.config import VisionConfig
from clinometer.models.vision.model import VisionTransformer

__all__ = [
    "ARCHITECTURES",
    "IMAGE_ARCHITECTURES",
    "SIZES",
    "Architecture",
    "Batch",
    "ConfigError",
    "DynamicConv",
    "EncoderDecoder",
    "FeedForward",
    "ImageShape",
    "LightConv",
    "Logits",
    "Loss",
    "LossOutputs",
    "Model",
    "ModelNameError",
    "PerformerAttention",
    "RMSNorm",
    "RelativeAttention",
    "RelativeBias",
    "Shape",
    "SwitchFFN",
    "SwitchMetrics",
    "TextShape",
    "TokenEmbedding",
    "TransformerConfig",
    "VisionConfig",
    "VisionTransformer",
    "architecture_of",
    "batch",
    "build",
    "counts",
    "decoding",
    "image_batch",
    "is_stacked",
    "loss",
    "register",
    "size_of",
    "stack_axes",
    "stack_params",
    "takes_images",
    "unstack_params",
]

# Comes last, so that users' files can import everything above.
own.load(ARCHITECTURES, IMAGE_ARCHITECTURES)
