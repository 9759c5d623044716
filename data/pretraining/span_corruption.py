"""T5's span corruption (Raffel et al., 2020; `random_spans_helper` and mask).

Shapes: n raw tokens; `spans` noise spans; S inputs; T targets, both with EOS.
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
    """Lengths of a row: raw tokens, inputs and targets (EOS included)."""

    raw: int
    inputs: int
    targets: int


def noise_counts(
    raw: int, noise_density: float = 0.15, mean_noise_span_length: float = 3.0
) -> tuple[int, int]:
    """Noise tokens and noise spans of `raw` tokens.

    Python's `round`, half to even, as T5. Spans are also kept within the number of
    tokens that are not noise, so that a short last row can be cut, too.
    """
    noise = min(max(round(raw * noise_density), 1), raw - 1)
    spans = max(1, round(noise / mean_noise_span_length))
    return noise, min(spans, noise, raw - noise)


def lengths_of(
    raw: int, noise_density: float = 0.15, mean_noise_span_length: float = 3.0
) -> Lengths:
    """Lengths that `raw` tokens give: each span one sentinel, then EOS."""
    noise, spans = noise_counts(raw, noise_density, mean_noise_span_length)
    return Lengths(raw, raw - noise + spans + 1, noise + spans + 1)


def raw_length(
    encoder_length: int,
    noise_density: float = 0.15,
    mean_noise_span_length: float = 3.0,
) -> Lengths:
    """The largest raw length whose inputs fit: 512 => 568 raw, 512 and 114.

    Args:
        encoder_length: S, tokens of the inputs with EOS.
        noise_density: share of the raw tokens that is noise, in (0, 1).
        mean_noise_span_length: tokens of a noise span, at least 1.

    Raises:
        DataError: no raw length gives exactly `encoder_length`, or one row needs more
            than the vocabulary's 100 sentinels.
    """
    if not 0 < noise_density < 1:
        raise DataError(f"noise_density is {noise_density}; accepted is (0, 1).")
    if not mean_noise_span_length >= 1:
        raise DataError(
            f"mean_noise_span_length is {mean_noise_span_length}; "
            "accepted is 1 or more."
        )
    arguments = (noise_density, mean_noise_span_length)
    # Inputs grow with the raw length, however little of it is not noise.
    above = 3
    while lengths_of(above, *arguments).inputs <= encoder_length:
        above *= 2
        if above > _MOST_RAW:
            raise DataError(
                f"noise_density is {noise_density}: what it leaves of {_MOST_RAW} raw "
                f"tokens fits {encoder_length}; lower it."
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
            f"mean_noise_span_length {mean_noise_span_length} leave {raw - noise} "
            "tokens for more spans than that; lower the density."
        )
    if lengths.inputs != encoder_length:
        raise DataError(
            f"encoder_length {encoder_length} cannot be met by span corruption at "
            f"density {noise_density}, mean span {mean_noise_span_length}: {raw} raw "
            f"tokens give {lengths.inputs}."
        )
    if spans > NUM_SENTINELS:
        raise DataError(
            f"encoder_length {encoder_length} needs {spans} sentinels in a row; the "
            f"vocabulary has {NUM_SENTINELS}. Lower the length or the noise density, "
            "or raise the mean span length."
        )
    return lengths


def draw_keys(rng: np.random.Generator, raw: int) -> np.ndarray:
    """The random keys, [raw - 2] in [0, 1), that decide where a row is cut."""
    return rng.random(raw - 2)


def corrupt(
    tokens: np.ndarray,  # [B, n]
    keys: np.ndarray,  # [B, n - 2]
    vocab_size: int,
    noise_density: float = 0.15,
    mean_noise_span_length: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts rows of raw tokens into inputs and targets.

    Noise and text are each cut into `spans` segments uniformly at random and
    interleaved, text first: a row starts with text and ends with noise. In the
    inputs sentinel j (id vocab_size - 1 - j) stands for noise span j; in the targets
    it stands for text run j. There is no sentinel after the last span.

    Args:
        tokens: raw token ids, at least 2 in a row.
        keys: each row's own, from `draw_keys`; equal keys, equal result.
        vocab_size: ids of the vocabulary, sentinels included, not padded.
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

    # Where a result lies is where its raw token lies, but for the tokens of the other
    # kind (text or noise) left out and the sentinels put in before it. Each segment
    # is taken with the raw token beside it, where its sentinel then goes.
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
    """tokens[b, place + shift], each segment's shift repeated over its places."""
    repeated = np.repeat(shifts.ravel(), counts.ravel()).reshape(len(tokens), -1)
    return np.take_along_axis(tokens, repeated + np.arange(repeated.shape[1]), axis=1)


def _segments(
    length: int, segments: int, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts `length` into non-empty segments: starts and lengths, [B, segments].

    The places of the smallest of random keys [B, length - 1] are a uniform choice.
    """
    bounds = np.zeros((len(keys), segments + 1), np.int64)
    bounds[:, -1] = length
    if 1 < segments < length:
        cuts = keys.argpartition(segments - 2, axis=1)[:, : segments - 1]
        bounds[:, 1:-1] = np.sort(cuts, axis=1) + 1
    elif segments == length:
        bounds[:, 1:-1] = np.arange(1, length)
    return bounds[:, :-1], np.diff(bounds, axis=1)
