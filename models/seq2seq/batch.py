"""The layout of a batch of texts; no other module knows its keys.

Shapes: B batch, S encoder length, T decoder length.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import model as model_lib

PAD_ID = 0

# The keys of inputs are also the argument names of `EncoderDecoder.forward`.
_TARGETS = "decoder_target_tokens"
_INPUT_SEGMENTS, _TARGET_SEGMENTS = "encoder_segment_ids", "decoder_segment_ids"

_LENGTH = ranges.Whole(1)


@dataclasses.dataclass(frozen=True)
class TextShape:
    """The shape of a row of a batch of texts.

    Attributes:
        encoder_length: S.
        decoder_length: T.
        packed: whether a row holds several examples, separated by segment ids.

    Raises:
        OptionError: a length is out of range.
    """

    encoder_length: int
    decoder_length: int
    packed: bool = False

    def __post_init__(self):
        for field in ("encoder_length", "decoder_length"):
            try:
                _LENGTH.check(getattr(self, field))
            except OptionError as error:
                raise OptionError(f"{field}: {error}") from None


def make(
    inputs: np.ndarray,
    targets: np.ndarray,
    input_segments: np.ndarray | None = None,
    target_segments: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Builds a batch from rows of token ids.

    The decoder's inputs are the targets shifted right by one; each example starts with
    id 0, which is also the padding id.

    Args:
        inputs: int32 [B, S], 0 at padding.
        targets: int32 [B, T], 0 at padding.
        input_segments: int32 [B, S] if rows are packed: 1, 2, ... for the examples of
            a row, 0 at padding.
        target_segments: int32 [B, T], likewise.

    Returns:
        The batch as {key: int32 array}.
    """
    decoder_inputs = np.full_like(targets, PAD_ID)
    decoder_inputs[:, 1:] = targets[:, :-1]
    batch = {
        "encoder_input_tokens": inputs,
        _TARGETS: targets,
        "decoder_input_tokens": decoder_inputs,
    }
    if input_segments is not None:
        goes_on = target_segments[:, 1:] == target_segments[:, :-1]
        decoder_inputs[:, 1:][~goes_on | (target_segments[:, 1:] == 0)] = PAD_ID
        batch[_INPUT_SEGMENTS] = input_segments
        batch[_TARGET_SEGMENTS] = target_segments
    return batch


def abstract(batch_size: int, shape: TextShape) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes of a batch built by `make`."""
    inputs, targets = (
        jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
        for length in (shape.encoder_length, shape.decoder_length)
    )
    batch = {
        "encoder_input_tokens": inputs,
        _TARGETS: targets,
        "decoder_input_tokens": targets,
    }
    if shape.packed:
        batch[_INPUT_SEGMENTS], batch[_TARGET_SEGMENTS] = inputs, targets
    return batch


def random(
    seed: int, batch_size: int, shape: TextShape, vocab_size: int
) -> dict[str, jax.Array]:
    """Returns a batch of random tokens, with one example per row."""
    rng = np.random.default_rng(seed)
    inputs, targets = (
        rng.integers(2, vocab_size, (batch_size, length), np.int32)
        for length in (shape.encoder_length, shape.decoder_length)
    )
    segments = map(np.ones_like, (inputs, targets)) if shape.packed else ()
    return jax.tree.map(jnp.asarray, make(inputs, targets, *segments))


def split(batch: model_lib.Batch) -> tuple[dict[str, jax.Array], jax.Array]:
    """Splits a batch into arguments of `EncoderDecoder.forward` and targets [B, T]."""
    return {k: v for k, v in batch.items() if k != _TARGETS}, batch[_TARGETS]


def token_segments(tokens: jax.Array, *, has_start: bool = False) -> jax.Array:
    """Returns segment ids of unpacked rows: 1 at tokens, 0 at padding.

    Args:
        tokens: int [B, L].
        has_start: whether the first token is the start token, whose id is also the
            padding id.

    Returns:
        int32 [B, L].
    """
    segments = (jnp.asarray(tokens) != PAD_ID).astype(jnp.int32)
    return segments.at[:, 0].set(1) if has_start else segments
