"""The Mixture of Softmaxes: T5 whose output is a mixture of K distributions.

See ARCHITECTURES.md#mixture-of-softmaxes.

    h' = h d^(-1/2)
    pi = log_softmax(h' mixture^T)                    [K]
    z_j = log_softmax(tanh(h' context_j) table^T)     [K, V]
    logits = logsumexp_j(pi_j + z_j)                  [V]

Yang et al. 2018, as in Mesh TensorFlow. `mixture` is [K, d], `context` [K, d, d] and
`table` the input embedding, without biases and without another factor d^(-1/2). The
logits are log-probabilities, so their log-partition, and with it the z-loss, is 0. Tay
et al. 2022 do not state K; 15 is the value in the code of Yang et al.

Everything is computed in float32, on TPUs by three products of bfloat16 numbers. The
head processes positions in chunks, which are recomputed in the backward pass, so that
it holds `head_tokens` K V numbers instead of B T K V. Only on TPUs and with `dtype`
bfloat16 is it a Pallas kernel, which holds none of them outside of VMEM and rounds the
factors of the products with the table to bfloat16; its softmaxes are float32.

All three arrays are initialised from N(0, 1), as in the public code. The logits of each
softmax then have a standard deviation of about 0.6 d^(1/2), and the first loss is far
above ln V: for ln V = 7.6 it is 9.3 nats at d = 32, 15 at 128 and 27 at 512. It falls
within the first training steps. `context_init_scale=d**-0.5` starts near ln V instead.

Shapes: B batch, T length, d model width, K components, V vocabulary.
"""

from collections.abc import Sequence
import dataclasses

import haiku as hk
import jax

from clinometer import kernels
from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import embedding
from clinometer.models.layers import parameters
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Mixture of Softmaxes; embeddings are tied.

    Attributes:
        num_softmaxes: number of softmaxes, K.
        context_init_scale: standard deviation of the initial `context`.
        head_tokens: maximum number of tokens that the head processes at once, unless a
            Pallas kernel does; at least one position of every row is.
    """

    num_softmaxes: int = 15
    context_init_scale: float = 1.0
    head_tokens: int = 32

    def __post_init__(self):
        super().__post_init__()
        if not self.tie_embeddings:
            raise config_lib.ConfigError(
                "tie_embeddings: must be True, as mos computes its softmaxes with the "
                "input embedding table; got False"
            )
        if self.logits_scaling != "tied":
            raise config_lib.ConfigError(
                "logits_scaling: must be 'tied', as mos scales its softmaxes by "
                f"itself; got {self.logits_scaling!r}"
            )
        if self.context_init_scale <= 0:
            raise config_lib.ConfigError(
                f"context_init_scale: must be positive, got {self.context_init_scale}"
            )


class MixtureOfSoftmaxes(hk.Module):
    """Output layer that returns the log-probabilities of a mixture of softmaxes.

    The parameters are `mixture` [K, d] and `context` [K, d, d]; see the module
    docstring.

    Args:
        num_softmaxes: K.
        context_init_scale: standard deviation of the initial `context`.
        chunk_tokens: maximum number of tokens that XLA processes at once; see
            `kernels.mixture_of_softmaxes`.
        implementation: implementation of the kernel.
    """

    def __init__(
        self,
        num_softmaxes: int,
        context_init_scale: float = 1.0,
        chunk_tokens: int = 32,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.num_softmaxes = num_softmaxes
        self.context_init_scale = context_init_scale
        self.chunk_tokens = chunk_tokens
        self.implementation = implementation

    def __call__(self, h: jax.Array, table: jax.Array) -> jax.Array:
        """Computes the log-probabilities of the next token.

        Args:
            h: decoder output [B, T, d].
            table: embedding table [V, d].

        Returns:
            Log-probabilities, float32 [B, T, V].
        """
        d_model = h.shape[2]
        mixture = parameters.make(
            "mixture",
            (self.num_softmaxes, d_model),
            ("softmaxes", "embed"),
            parameters.normal(1.0),
        )
        context = parameters.make(
            "context",
            (self.num_softmaxes, d_model, d_model),
            ("softmaxes", "embed", "context"),
            parameters.normal(self.context_init_scale),
        )
        return kernels.mixture_of_softmaxes(
            h,
            mixture,
            context,
            table,
            chunk_tokens=self.chunk_tokens,
            implementation=self.implementation,
        )


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""
    token_embedding = embedding.TokenEmbedding(
        config.vocab_size, config.d_model, name="token_embedding"
    )
    head = MixtureOfSoftmaxes(
        config.num_softmaxes,
        config.context_init_scale,
        config.head_tokens,
        (config.implementation, "auto"),  # It has kernels on TPUs only.
        name="logits",
    )
    return encoder_decoder.make_network(
        config,
        transformer.make_encoder(config),
        transformer.make_decoder(config),
        embed=lambda tokens, _: token_embedding(tokens, config.compute_dtype),
        logits=lambda h: head(h, token_embedding.table()),
    )


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the parameter counts of the vanilla Transformer and of the head."""
    vanilla = transformer.param_counts(config)
    total = vanilla.total + _head_params(config)
    return dataclasses.replace(vanilla, total=total, active=total)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the Transformer's and the head's multiply-adds for one example.

    The head has K projections to the vocabulary.
    """
    vanilla = transformer.forward_macs(config, encoder_length, decoder_length)
    return dataclasses.replace(
        vanilla,
        body=vanilla.body + decoder_length * _head_params(config),
        logits=config.num_softmaxes * vanilla.logits,
    )


def _head_params(config: Config) -> int:
    return config.num_softmaxes * config.d_model * (config.d_model + 1)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    family="richer layers",
    mark="diamond",
    label="MoS",
)
