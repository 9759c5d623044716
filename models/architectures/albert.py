"""ALBERT as an encoder-decoder: one layer's weights at every depth, in both stacks.

See ARCHITECTURES.md#albert; Lan et al. 2020 and Tay et al. 2022. Self-attention,
feed-forward and their norms are the same arrays in encoder and decoder; the decoder has
cross-attention of its own. Embedding and logits are factorised and tied: `x =
table[ids] projection`, `logits = ((h d^-1/2) projection^T) table^T`.

Where sources disagree: with Mesh TensorFlow's sharing by name, the relative bias and
the final norm of both stacks coincide as well, which is an option here; the paper says
neither. It does not print e either: 128 is ALBERT's own. At the laptop sizes, whose d
is at most that, e is smaller.

Shapes: B batch, T length, d model width, e embedding width, V vocabulary.
"""

import dataclasses
import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import attention
from clinometer.models.layers import layer as layer_lib
from clinometer.models.layers import norm
from clinometer.models.layers import parameters
from clinometer.models.layers import residual
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

# Of the sizes that do not have the config's 128.
EMBEDDING_WIDTHS = {"pico": 16, "nano": 16, "micro": 32, "milli": 32}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of ALBERT.

    Attributes:
        d_embedding: e, width of the embedding table.
        share_stacks: encoder and decoder share self-attention, feed-forward and norms.
        share_relative_bias: one relative bias table for both stacks.
        share_final_norm: one final norm for both stacks.
    """

    d_embedding: int = 128
    share_stacks: bool = True
    share_relative_bias: bool = False
    share_final_norm: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.tie_embeddings:
            raise config_lib.ConfigError(
                "tie_embeddings: accepted: True; ALBERT's logits take the factorised "
                "table"
            )


class FactorisedEmbedding(hk.Module):
    """A narrow table [V, e] and a projection [e, d], for the input and the logits.

    Both are plain normal of deviation e^-1/4, so that embedded tokens have deviation 1.
    """

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeds int tokens [B, T]; returns [B, T, d] of the compute dtype."""
        table, projection = self._parameters()
        return table[tokens] @ projection

    @hk.name_like("__call__")
    def logits(self, h: jax.Array) -> jax.Array:
        """Projects h [B, T, d]; returns float32 logits [B, T, V]."""
        table, projection = self._parameters()
        h = h * jnp.asarray(self.config.d_model**-0.5, h.dtype)
        return jnp.einsum(
            "bte,ve->btv",
            h @ projection.T,
            table,
            preferred_element_type=jnp.float32,
        )

    def _parameters(self) -> tuple[jax.Array, jax.Array]:
        config = self.config
        factor, dtype = config.d_embedding, config.compute_dtype
        init = parameters.normal(factor**-0.25)
        table = parameters.make(
            "table", (config.vocab_size, factor), ("vocab", "factor"), init
        )
        projection = parameters.make(
            "projection", (factor, config.d_model), ("factor", "embed"), init
        )
        return table.astype(dtype), projection.astype(dtype)


def make_network(config: Config) -> seq2seq.Network:
    """Makes the modules, inside `hk.transform`.

    What the stacks share has its name outside of both: `layer/...`,
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
    """Closed form of the number of parameters."""
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
    """Closed form of the forward pass's multiply-adds, one example.

    The layers are a Transformer's. The embedding's projection is run, so it is of the
    body; a lookup is one in the narrow table.
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
    """Returns the embedding's width at a size."""
    if size in EMBEDDING_WIDTHS:
        return {"d_embedding": EMBEDDING_WIDTHS[size]}
    return {}


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    size_fields,
    family="shared layers",
    mark="v",
)
