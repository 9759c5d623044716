"""The layout of a batch of texts: the one file that knows its keys.

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

# Those of inputs are also the names of the arguments of `EncoderDecoder.forward`.
_TARGETS = "decoder_target_tokens"
_INPUT_SEGMENTS, _TARGET_SEGMENTS = "encoder_segment_ids", "decoder_segment_ids"

_LENGTH = ranges.Whole(1)


@dataclasses.dataclass(frozen=True)
class TextShape:
    """What one example, a row of a batch, is like.

    Attributes:
        encoder_length: S.
        decoder_length: T.
        packed: a row holds several examples, told apart by segments.

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
    """Returns the batch of rows of token ids, 0 at padding.

    The decoder sees the targets shifted right by one: each example starts with id 0,
    which is also padding's.

    Args:
        inputs: int32 [B, S].
        targets: int32 [B, T].
        input_segments: int32 [B, S] if rows are packed: 1, 2, ... for the examples of
            a row, 0 at padding.
        target_segments: int32 [B, T], likewise.
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
    """Returns shapes and dtypes of what `make` returns."""
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
    """Returns a batch of random tokens, one example a row."""
    rng = np.random.default_rng(seed)
    inputs, targets = (
        rng.integers(2, vocab_size, (batch_size, length), np.int32)
        for length in (shape.encoder_length, shape.decoder_length)
    )
    segments = map(np.ones_like, (inputs, targets)) if shape.packed else ()
    return jax.tree.map(jnp.asarray, make(inputs, targets, *segments))


def split(batch: model_lib.Batch) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns the arguments of `EncoderDecoder.forward`, and the targets [B, T]."""
    return {k: v for k, v in batch.items() if k != _TARGETS}, batch[_TARGETS]


def token_segments(tokens: jax.Array, *, has_start: bool = False) -> jax.Array:
    """Returns int32 segment ids: 1 at tokens, 0 at padding.

    Args:
        tokens: int [B, L].
        has_start: the first token is the start token, which has padding's id.
    """
    segments = (jnp.asarray(tokens) != PAD_ID).astype(jnp.int32)
    return segments.at[:, 0].set(1) if has_start else segments
