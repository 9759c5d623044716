"""Parameters and multiply-adds of a model's parts in closed form.

Each architecture sums these in its own file. Multiply-adds are those of one example and
include masked positions: causal attention counts as dense, as in the papers.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from clinometer.kernels.relative_attention import NUM_BUCKETS
from clinometer.models import config as config_lib


@dataclasses.dataclass(frozen=True)
class ParamCounts:
    """Numbers of parameters.

    Attributes:
        total: all parameters.
        embedding: parameters of the input table and, if it is separate, of the output
            table.
        active: parameters used by one token; less than total only with experts.
    """

    total: int
    embedding: int
    active: int


@dataclasses.dataclass(frozen=True)
class Macs:
    """Multiply-adds of the forward pass of one example.

    Attributes:
        body: multiply-adds of the layers.
        logits: multiply-adds of the projection to the vocabulary.
        lookup: multiply-adds that the papers count for looking up tokens, as a one-hot
            product; the program does not execute them.
    """

    body: int
    logits: int
    lookup: int


@dataclasses.dataclass(frozen=True)
class ClosedForm:
    """The cost of an architecture's models in closed form.

    Attributes:
        param_counts: (config) -> numbers of parameters.
        forward_macs: (config, S, T) -> multiply-adds; raises ConfigError for lengths
            that the model does not accept.
    """

    param_counts: Callable[[Any], ParamCounts]
    forward_macs: Callable[[Any, int, int], Macs]


def attention_params(config: config_lib.TransformerConfig) -> int:
    """Returns the parameters of one attention sublayer, without its norm."""
    inner = config.num_heads * config.d_kv
    projections = 1 if config.shared_kv else 2
    return config.d_model * (2 * inner + projections * config.kv_heads * config.d_kv)


def norm_params(config: config_lib.TransformerConfig) -> int:
    """Returns the parameters of one norm."""
    return (2 if config.norm == "layer" else 1) * config.d_model


def feed_forward_params(config: config_lib.TransformerConfig) -> int:
    """Returns the parameters of one feed-forward sublayer, without its norm."""
    return (3 if config.is_gated else 2) * config.d_model * config.ffn_width


def embedding_params(config: config_lib.TransformerConfig) -> int:
    """Returns the parameters of the input table, and of a separate output table."""
    return (1 if config.tie_embeddings else 2) * config.vocab_size * config.d_model


def attention_macs(
    config: config_lib.TransformerConfig, query_length: int, key_length: int
) -> int:
    """Returns the multiply-adds of attention: projections, logits, weighted values."""
    inner = config.num_heads * config.d_kv
    return (
        projection_macs(config, query_length, key_length)
        + 2 * query_length * key_length * inner
    )


def projection_macs(
    config: config_lib.TransformerConfig, query_length: int, key_length: int
) -> int:
    """Returns the multiply-adds of attention's projections."""
    inner = config.num_heads * config.d_kv
    projections = 1 if config.shared_kv else 2
    key_value = projections * config.kv_heads * config.d_kv
    return config.d_model * (query_length * 2 * inner + key_length * key_value)


def feed_forward_macs(config: config_lib.TransformerConfig, length: int) -> int:
    """Returns the multiply-adds of one feed-forward sublayer."""
    return length * feed_forward_params(config)


def model_params(
    config: config_lib.TransformerConfig,
    *,
    encoder_layer: int,
    decoder_layer: int,
    bias_tables: int = 2,
    beside: int = 0,
) -> ParamCounts:
    """Returns the numbers of parameters of an encoder-decoder of equal layers.

    Args:
        config: config of the architecture.
        encoder_layer: parameters of one encoder layer.
        decoder_layer: parameters of one decoder layer.
        bias_tables: number of relative bias tables [H, num_buckets].
        beside: parameters besides layers, embeddings, bias tables and final norms.
    """
    embedding = embedding_params(config)
    total = (
        embedding
        + config.num_encoder_layers * encoder_layer
        + config.num_decoder_layers * decoder_layer
        + 2 * norm_params(config)
        + bias_tables * NUM_BUCKETS * config.num_heads
        + beside
    )
    return ParamCounts(total, embedding, active=total)


def model_macs(
    config: config_lib.TransformerConfig,
    encoder_length: int,
    decoder_length: int,
    *,
    encoder_layer: int,
    decoder_layer: int,
) -> Macs:
    """Returns the multiply-adds of an encoder-decoder of equal layers.

    Embeddings and logits are T5's.

    Args:
        config: config of the architecture.
        encoder_length: S.
        decoder_length: T.
        encoder_layer: multiply-adds of one encoder layer.
        decoder_layer: multiply-adds of one decoder layer.
    """
    table = config.vocab_size * config.d_model
    return Macs(
        body=config.num_encoder_layers * encoder_layer
        + config.num_decoder_layers * decoder_layer,
        logits=decoder_length * table,
        lookup=(encoder_length + decoder_length) * table,
    )
