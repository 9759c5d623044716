"""The configuration of T5-like encoder-decoders, validated on construction."""

from collections.abc import Collection
import dataclasses
from typing import Any

import jax.numpy as jnp

from clinometer import kernels
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import limits
from clinometer.models.layers import feed_forward
from clinometer.models.layers import norm
from clinometer.models.layers import remat

DTYPES = ("float32", "bfloat16")
LOGITS_SCALINGS = ("tied", "always", "never")
_FINITE = ranges.Real(-ranges.MOST_REAL)


class ConfigError(ValueError):
    """Raised for an invalid model configuration; the message names the field."""


def check_types(config: Any) -> None:
    """Checks the types and ranges of all fields of a model's config.

    Args:
        config: a dataclass.

    Raises:
        ConfigError: a field has the wrong type or is out of range.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        # In Python a bool is an int; an int is accepted for a float.
        accepted = (float, int) if field.type is float else (field.type,)
        if not isinstance(value, accepted) or (
            isinstance(value, bool) and field.type is not bool
        ):
            raise ConfigError(
                f"{field.name}: expected {field.type.__name__}, got {value!r}"
            )
        try:
            if field.type is int:
                limits.whole(field.name).check(value)
            elif field.type is float:
                _FINITE.check(value)
        except OptionError as error:
            raise ConfigError(f"{field.name}: {error}") from None


def check_choice(config: Any, field: str, accepted: Collection[str]) -> None:
    """Raises ConfigError unless a field of a config has one of the accepted values."""
    value = getattr(config, field)
    if value not in accepted:
        raise ConfigError(
            f"{field}: unknown {value!r}; accepted: {', '.join(accepted)}"
        )


def check_share(config: Any, field: str) -> None:
    """Raises ConfigError unless a field of a config lies in [0, 1)."""
    value = getattr(config, field)
    if not 0 <= value < 1:
        raise ConfigError(f"{field}: must lie in [0, 1), got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shape and options of a Transformer.

    Attributes:
        d_model: width of the residual stream.
        d_ff: hidden width of the feed-forward sublayers.
        num_heads: number of attention heads.
        d_kv: width of each head.
        num_encoder_layers: number of encoder layers.
        num_decoder_layers: number of decoder layers.
        vocab_size: rows of the embedding table, including padding rows.
        num_kv_heads: number of key-value heads; 0 for num_heads, 1 for a single head
            shared by all queries.
        shared_kv: tie the key and value projections.
        tie_embeddings: compute the logits with the embedding table instead of a
            separate matrix.
        logits_scaling: whether to multiply the decoder's output by d_model^-0.5 before
            the logits: "tied" (if they are tied, as T5 and T5 1.1), "always" or
            "never".
        norm: "rms", or "layer" for full layer norms with mean and offset.
        ffn_activation: one of `feed_forward.ACTIVATIONS`, e.g. "gated-gelu".
        dropout_rate: dropout rate, used everywhere.
        broadcast_dropout: share dropout masks along the length axis.
        dtype: dtype of activations, "float32" or "bfloat16"; parameters, norms, softmax
            and loss are always float32.
        scan_layers: scan over stacked layers, which compiles faster for deep models.
        remat: what the backward pass recomputes, to save memory: "none", "layer"
            (everything within a layer) or "dots" (everything within a layer but the
            products with its parameters).
        implementation: kernels to use: "auto", "reference", "cpu" or "tpu".

    Raises:
        ConfigError: a field has the wrong type or is out of range.
    """

    d_model: int
    d_ff: int
    num_heads: int
    d_kv: int
    num_encoder_layers: int
    num_decoder_layers: int
    vocab_size: int = 32128
    num_kv_heads: int = 0
    shared_kv: bool = False
    tie_embeddings: bool = True
    logits_scaling: str = "tied"
    norm: str = "rms"
    ffn_activation: str = "relu"
    dropout_rate: float = 0.1
    broadcast_dropout: bool = True
    dtype: str = "float32"
    scan_layers: bool = False
    remat: str = "none"
    implementation: str = "auto"

    def __post_init__(self):
        if isinstance(self.remat, bool):  # In records of earlier versions.
            object.__setattr__(self, "remat", "layer" if self.remat else "none")
        check_types(self)
        if self.num_heads % self.kv_heads:
            raise ConfigError(
                f"num_kv_heads: {self.num_kv_heads} does not divide num_heads, "
                f"{self.num_heads}"
            )
        check_choice(self, "ffn_activation", feed_forward.ACTIVATIONS)
        check_choice(self, "logits_scaling", LOGITS_SCALINGS)
        check_choice(self, "norm", tuple(norm.NORMS))
        check_choice(self, "dtype", DTYPES)
        check_choice(self, "remat", remat.POLICIES)
        check_choice(self, "implementation", ("auto", *kernels.IMPLEMENTATIONS))
        check_share(self, "dropout_rate")

    def check_parts(
        self, batch_size: int, encoder_length: int, decoder_length: int, parts: int
    ) -> None:
        """Checks that batches can be divided evenly over devices.

        An architecture whose rows depend on each other, in groups that no device may
        share, checks the groups too.

        Args:
            batch_size: number of rows that are processed at once: those of a
                microbatch.
            encoder_length: S.
            decoder_length: T.
            parts: number of parts into which the devices divide a batch.

        Raises:
            ConfigError: a batch does not divide; says what does.
        """
        del encoder_length, decoder_length
        if batch_size % parts:
            raise ConfigError(
                f"a batch of {batch_size} rows cannot be divided over {parts} parts of "
                f"the devices; accepted: multiples of {parts}"
            )

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The dtype of activations."""
        return jnp.dtype(self.dtype)

    @property
    def kv_heads(self) -> int:
        """Number of key-value heads."""
        return self.num_kv_heads or self.num_heads

    @property
    def ffn_width(self) -> int:
        """Hidden width of the feed-forward sublayers."""
        return self.d_ff

    @property
    def scales_logits(self) -> bool:
        """Whether the decoder's output is scaled before the logits."""
        return self.logits_scaling == "always" or (
            self.logits_scaling == "tied" and self.tie_embeddings
        )

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward sublayer has a gate."""
        return self.ffn_activation.startswith("gated-")
