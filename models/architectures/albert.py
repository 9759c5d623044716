"""ALBERT as an encoder-decoder, with weights shared across depth and stacks.

See ARCHITECTURES.md#albert; Lan et al. 2020 and Tay et al. 2022. Encoder and decoder
share the weights of self-attention, feed-forward and their norms; the decoder has its
own cross-attention. Embedding and logits are factorised and tied: `x = table[ids]
projection`, `logits = ((h d^-1/2) projection^T) table^T`.

Where sources disagree: Mesh TensorFlow shares variables by name, so that both stacks
also share the relative bias and the final norm, which is an option here; Tay et al. do
not say. They do not state e either; 128 is the value of Lan et al. At the laptop sizes,
whose d is at most 128, e is smaller.

Shapes: B batch, T length, d model width, e embedding width, V vocabulary.
"""

import dataclasses
import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import attention
from clinometer.models.layers import layer as layer_lib
from clinometer.models.layers import norm
from clinometer.models.layers import parameters
from clinometer.models.layers import products
from clinometer.models.layers import residual
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

# Overrides for sizes that don't use the default of 128.
EMBEDDING_WIDTHS = {"pico": 16, "nano": 16, "micro": 32, "milli": 32}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of ALBERT.

    Attributes:
        d_embedding: width of the embedding table, e.
        share_stacks: share self-attention, feed-forward and norms between encoder and
            decoder.
        share_relative_bias: share one relative bias table between both stacks.
        share_final_norm: share the final norm between both stacks.
    """

    d_embedding: int = 128
    share_stacks: bool = True
    share_relative_bias: bool = False
    share_final_norm: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.tie_embeddings:
            raise config_lib.ConfigError(
                "tie_embeddings: must be True, as ALBERT computes its logits with the "
                "factorised embedding table; got False"
            )
        if self.logits_scaling != "tied":
            raise config_lib.ConfigError(
                "logits_scaling: must be 'tied', as ALBERT scales its logits by "
                f"itself; got {self.logits_scaling!r}"
            )


class FactorisedEmbedding(hk.Module):
    """Factorised token embedding, which also computes the logits.

    The table [V, e] and the projection [e, d] are initialised from a normal
    distribution of standard deviation e^-1/4, so that embedded tokens have unit
    variance.

    Args:
        config: config of the architecture.
    """

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeds int tokens [B, T]; returns [B, T, d] of the compute dtype."""
        table, projection = self._parameters()
        rows = table[tokens].astype(self.config.compute_dtype)
        return products.dense(rows, projection)

    @hk.name_like("__call__")
    def logits(self, h: jax.Array) -> jax.Array:
        """Projects h [B, T, d]; returns float32 logits [B, T, V]."""
        table, projection = self._parameters()
        h = h * jnp.asarray(self.config.d_model**-0.5, h.dtype)
        h = products.dense(h, projection, transpose_kernel=True)
        return products.dense(h, table, jnp.float32, transpose_kernel=True)

    def _parameters(self) -> tuple[jax.Array, jax.Array]:
        config = self.config
        factor = config.d_embedding
        init = parameters.normal(factor**-0.25)
        table = parameters.make(
            "table", (config.vocab_size, factor), ("vocab", "factor"), init
        )
        projection = parameters.make(
            "projection", (factor, config.d_model), ("factor", "embed"), init
        )
        # Rows are looked up whole; see `embedding.TokenEmbedding`.
        return constrain(table, ("heads", None)), projection


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`.

    Parameters shared by the stacks are named outside of them: `layer/...`,
    `relative_bias/table`, `final_norm/scale`.
    """
    options = {}
    if config.share_stacks:
        layer = layer_lib.Layer(config, "layer")
        options["make_layer"] = lambda _: layer
    if config.share_relative_bias:
        options["make_bias"] = attention.RelativeBias(config.num_heads, "relative_bias")
    final_norm = None
    if config.share_final_norm:
        final_norm = norm.make(config.norm, "final_norm")
    options["run_stack"] = functools.partial(
        residual.run_stack, shared=True, final_norm=final_norm
    )
    embedding = FactorisedEmbedding(config, "token_embedding")
    return encoder_decoder.make_network(
        config,
        transformer.make_encoder(config, **options),
        transformer.make_decoder(config, **options),
        embed=lambda tokens, _: embedding(tokens),
        logits=embedding.logits,
    )


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    attention_params = closed_form.attention_params(config)
    norm_params = closed_form.norm_params(config)
    both = attention_params + closed_form.feed_forward_params(config) + 2 * norm_params
    embedding = (config.vocab_size + config.d_model) * config.d_embedding
    table = closed_form.NUM_BUCKETS * config.num_heads
    total = (
        embedding
        + (1 if config.share_stacks else 2) * both
        + (attention_params + norm_params)
        + (1 if config.share_relative_bias else 2) * table
        + (1 if config.share_final_norm else 2) * norm_params
    )
    return closed_form.ParamCounts(total, embedding, active=total)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form.

    The layers are the Transformer's. The embedding's projection is a real product and
    counts to the body; the lookup is that of the narrow table.
    """
    layers = transformer.forward_macs(config, encoder_length, decoder_length).body
    positions = encoder_length + decoder_length
    table = config.vocab_size * config.d_embedding
    projection = config.d_embedding * config.d_model
    return closed_form.Macs(
        body=layers + positions * projection,
        logits=decoder_length * (projection + table),
        lookup=positions * table,
    )


def size_fields(size: str) -> dict[str, Any]:
    """Returns the embedding width of a size, if it is not the default."""
    if size in EMBEDDING_WIDTHS:
        return {"d_embedding": EMBEDDING_WIDTHS[size]}
    return {}


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    size_fields,
    family="shared weights",
    mark="dome",
    label="ALBERT",
)
