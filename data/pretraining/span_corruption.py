"""T5's span corruption (Raffel et al. 2020; FORMATS.md#span-corruption).

Shapes: B rows; n raw tokens; S input and T target tokens, EOS included.
"""

import bisect
import dataclasses

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.store.vocabulary import EOS_ID
from clinometer.data.store.vocabulary import NUM_SENTINELS

_MOST_RAW = 1 << 31


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths of a row in tokens.

    Attributes:
        raw: raw tokens, n.
        inputs: inputs with EOS, S.
        targets: targets with EOS, T.
    """

    raw: int
    inputs: int
    targets: int


def noise_counts(
    raw: int, noise_density: float = 0.15, mean_noise_span_length: float = 3.0
) -> tuple[int, int]:
    """Returns the number of noise tokens and of noise spans in a row.

    As in T5, halves are rounded to even. In addition, there are at most as many spans
    as tokens that are not noise, so that a short last row can be corrupted.

    Args:
        raw: raw tokens, at least 2.
        noise_density: fraction of the raw tokens that is noise, in (0, 1).
        mean_noise_span_length: mean number of tokens in a noise span, at least 1.
    """
    noise = min(max(round(raw * noise_density), 1), raw - 1)
    spans = max(1, round(noise / mean_noise_span_length))
    return noise, min(spans, noise, raw - noise)


def lengths_of(
    raw: int, noise_density: float = 0.15, mean_noise_span_length: float = 3.0
) -> Lengths:
    """Returns the lengths for a row of `raw` tokens; arguments as in `noise_counts`."""
    noise, spans = noise_counts(raw, noise_density, mean_noise_span_length)
    return Lengths(raw, raw - noise + spans + 1, noise + spans + 1)


def raw_length(
    encoder_length: int,
    noise_density: float = 0.15,
    mean_noise_span_length: float = 3.0,
) -> Lengths:
    """Returns the lengths of the longest rows whose inputs fit the encoder.

    For example, 512 encoder tokens give 568 raw, 512 input and 114 target tokens.

    Args:
        encoder_length: S, tokens of the inputs with EOS.
        noise_density: fraction of the raw tokens that is noise, in (0, 1).
        mean_noise_span_length: mean number of tokens in a noise span, at least 1.

    Raises:
        DataError: an argument is out of range, no raw length gives exactly
            `encoder_length`, or a row needs more than the vocabulary's 100 sentinels.
    """
    if not 0 < noise_density < 1:
        raise DataError(f"noise_density is {noise_density}; accepted is (0, 1).")
    if not mean_noise_span_length >= 1:
        raise DataError(
            f"mean_noise_span_length is {mean_noise_span_length}; "
            "accepted is 1 or more."
        )
    arguments = (noise_density, mean_noise_span_length)
    # The inputs' length never decreases with the raw length, so bisect.
    above = 3
    while lengths_of(above, *arguments).inputs <= encoder_length:
        above *= 2
        if above > _MOST_RAW:
            raise DataError(
                f"noise_density is {noise_density}: even {_MOST_RAW} raw tokens do not "
                f"fill encoder_length {encoder_length}; lower the density."
            )
    raw = 1 + bisect.bisect_right(
        range(2, above),
        encoder_length,
        key=lambda length: lengths_of(length, *arguments).inputs,
    )
    raw = max(raw, 2)
    lengths = lengths_of(raw, *arguments)
    noise, spans = noise_counts(raw, *arguments)
    if spans != max(1, round(noise / mean_noise_span_length)):
        raise DataError(
            f"encoder_length {encoder_length}, noise_density {noise_density} and "
            f"mean_noise_span_length {mean_noise_span_length} give more noise spans "
            f"than the {raw - noise} tokens between them; lower the density."
        )
    if lengths.inputs != encoder_length:
        raise DataError(
            f"encoder_length {encoder_length} is impossible with noise_density "
            f"{noise_density} and mean_noise_span_length {mean_noise_span_length}: "
            f"{raw} raw tokens give {lengths.inputs}."
        )
    if spans > NUM_SENTINELS:
        raise DataError(
            f"encoder_length {encoder_length} needs {spans} sentinels per row; the "
            f"vocabulary has {NUM_SENTINELS}. Lower the length or the noise density, "
            "or raise the mean span length."
        )
    return lengths


def draw_keys(rng: np.random.Generator, raw: int) -> np.ndarray:
    """Returns the random keys that determine a row's segments, [raw - 2] in [0, 1)."""
    return rng.random(raw - 2)


def corrupt(
    tokens: np.ndarray,  # [B, n]
    keys: np.ndarray,  # [B, n - 2]
    vocab_size: int,
    noise_density: float = 0.15,
    mean_noise_span_length: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Applies span corruption to rows of raw tokens.

    Noise and text are each divided into segments uniformly at random and interleaved,
    so that a row starts with text and ends with noise. In the inputs, sentinel j (id
    vocab_size - 1 - j) replaces noise segment j; in the targets, it replaces text
    segment j. There is no sentinel after the last segment.

    Args:
        tokens: raw token ids, int [B, n], n at least 2.
        keys: random keys of each row, from `draw_keys`, float [B, n - 2].
        vocab_size: number of ids, sentinels included, not padded.
        noise_density: see `raw_length`.
        mean_noise_span_length: see `raw_length`.

    Returns:
        inputs [B, S] and targets [B, T], int32, each row ending with EOS.
    """
    rows, raw = tokens.shape
    noise, spans = noise_counts(raw, noise_density, mean_noise_span_length)
    noise_starts, noise_lengths = _segments(noise, spans, keys[:, : noise - 1])
    text_starts, text_lengths = _segments(raw - noise, spans, keys[:, noise - 1 :])
    order = np.arange(spans)
    sentinels = (vocab_size - 1 - order).astype(np.int32)[None]

    # The position of a token in the result is its raw position, minus the tokens of the
    # other kind (text or noise) that were removed before it, plus the sentinels that
    # were inserted before it. Each segment is copied with one adjacent raw token, which
    # its sentinel then overwrites.
    inputs = np.full((rows, raw - noise + spans + 1), EOS_ID, np.int32)
    inputs[:, :-1] = _take(tokens, noise_starts - order, text_lengths + 1)
    places = text_starts + text_lengths + order
    np.put_along_axis(inputs, places, sentinels, axis=1)

    targets = np.full((rows, noise + spans + 1), EOS_ID, np.int32)
    shifts = text_starts + text_lengths - order - 1
    targets[:, :-1] = _take(tokens, shifts, noise_lengths + 1)
    np.put_along_axis(targets, noise_starts + order, sentinels, axis=1)
    return inputs, targets


def _take(tokens: np.ndarray, shifts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns tokens[b, i + shift], where `counts` says how often to repeat a shift."""
    repeated = np.repeat(shifts.ravel(), counts.ravel()).reshape(len(tokens), -1)
    return np.take_along_axis(tokens, repeated + np.arange(repeated.shape[1]), axis=1)


def _segments(
    length: int, segments: int, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divides `length` into non-empty segments uniformly at random.

    The boundaries are the positions of the smallest of the keys, [B, length - 1].

    Returns:
        Starts and lengths of the segments, int64 [B, segments] each.
    """
    bounds = np.zeros((len(keys), segments + 1), np.int64)
    bounds[:, -1] = length
    if 1 < segments < length:
        cuts = keys.argpartition(segments - 2, axis=1)[:, : segments - 1]
        bounds[:, 1:-1] = np.sort(cuts, axis=1) + 1
    elif segments == length:
        bounds[:, 1:-1] = np.arange(1, length)
    return bounds[:, :-1], np.diff(bounds, axis=1)
