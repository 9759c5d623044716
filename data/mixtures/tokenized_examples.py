"""Examples of a task as token ids, and which of them share a row.

Shapes: S encoder and T decoder positions, end-of-sequence included.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import os
from typing import Protocol

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.store.vocabulary import EOS_ID
from clinometer.data.store.vocabulary import Vocabulary

_CHUNK = 4096  # texts that are encoded at once
# Rows that packing keeps open. BoolQ's validation set at four characters a token, in
# rows of 512: 1,078 rows with 32 of them, 1,067 with 128, 1,062 with 512; 1,025 is the
# least that could be.
_OPEN_ROWS = 128


class TextExample(Protocol):
    """What is tokenised; `tasks.task.Example` is one."""

    inputs: str
    targets: str


class Ragged:
    """Sequences of different lengths, one behind the other.

    Attributes:
      flat: all of them.
      offsets: int64 [N + 1], where each starts.
    """

    def __init__(self, flat: np.ndarray, lengths: Sequence[int] | np.ndarray):
        self.flat = flat
        self.offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=self.offsets[1:])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N]."""
        return np.diff(self.offsets)


@dataclasses.dataclass(frozen=True)
class TokenizedExamples:
    """Inputs and targets, each with its end-of-sequence.

    Attributes:
      inputs, targets: of each example, at most S and T tokens.
      truncated_inputs, truncated_targets: how many had to be cut.
    """

    inputs: Ragged
    targets: Ragged
    truncated_inputs: int
    truncated_targets: int

    def __len__(self) -> int:
        return len(self.inputs)


def tokenize(
    examples: Sequence[TextExample],
    vocabulary: Vocabulary,
    *,
    encoder_length: int,
    decoder_length: int,
    num_threads: int | None = None,
    parse_sentinels: bool = False,
) -> TokenizedExamples:
    """Encodes examples; one that is too long loses its end, never its EOS.

    Args:
      examples: of one task.
      vocabulary: of the model.
      encoder_length: S.
      decoder_length: T.
      num_threads: of SentencePiece; None => one for each core.
      parse_sentinels: `<extra_id_N>` is a sentinel; else plain text.

    Raises:
      DataError: a length below 2, which leaves no room for a token.
    """
    check_length("encoder_length", encoder_length)
    check_length("decoder_length", decoder_length)
    inputs, cut_inputs = encode(
        (example.inputs for example in examples),
        vocabulary,
        encoder_length,
        num_threads,
        parse_sentinels,
    )
    targets, cut_targets = encode(
        (example.targets for example in examples),
        vocabulary,
        decoder_length,
        num_threads,
        parse_sentinels,
    )
    return TokenizedExamples(inputs, targets, cut_inputs, cut_targets)


def encode(
    texts: Iterable[str],
    vocabulary: Vocabulary,
    length: int,
    num_threads: int | None = None,
    parse_sentinels: bool = False,
) -> tuple[Ragged, int]:
    """Token ids of texts, at most `length` with EOS; and how many had to be cut."""
    num_threads = num_threads or len(os.sched_getaffinity(0))
    end = np.array([EOS_ID], vocabulary.dtype)
    parts, lengths, cut, chunk = [np.zeros(0, vocabulary.dtype)], [], 0, []

    def flush() -> int:
        encoded = vocabulary.encode_batch(
            chunk, num_threads, parse_sentinels=parse_sentinels
        )
        kept = [ids[: length - 1] for ids in encoded]
        for ids in kept:
            parts.extend((ids, end))
            lengths.append(len(ids) + 1)
        chunk.clear()
        return sum(len(ids) > length - 1 for ids in encoded)

    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            cut += flush()
    cut += flush()
    return Ragged(np.concatenate(parts), lengths), cut


def check_length(name: str, length: int) -> None:
    """Raises DataError if no token fits beside the end-of-sequence."""
    if length < 2:
        raise DataError(f"{name} is {length}; accepted is 2 or more.")


def pack(
    examples: TokenizedExamples,
    order: np.ndarray,
    encoder_length: int,
    decoder_length: int,
) -> Ragged:
    """Puts examples together in rows of S and T tokens, as many as fit.

    Each goes into the first of the open rows in which both its parts fit; a new row
    closes the oldest where too many are open. A function of its arguments alone.

    Args:
      examples: of one task, at most S and T long.
      order: in which they come, a permutation.
      encoder_length: S.
      decoder_length: T.

    Returns:
      The indices of each row's examples.
    """
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[]] * _OPEN_ROWS
    # Room for inputs and targets in each of them, less than an example's at first.
    input_room = np.zeros(_OPEN_ROWS, np.int64)
    target_room = np.zeros(_OPEN_ROWS, np.int64)
    inputs = examples.inputs.lengths.tolist()
    targets = examples.targets.lengths.tolist()
    for index in order.tolist():
        fits = (input_room >= inputs[index]) & (target_room >= targets[index])
        place = int(fits.argmax())
        if not fits[place]:
            place = len(rows) % _OPEN_ROWS
            open_rows[place] = []
            rows.append(open_rows[place])
            input_room[place], target_room[place] = encoder_length, decoder_length
        open_rows[place].append(index)
        input_room[place] -= inputs[index]
        target_room[place] -= targets[index]
    flat = np.array([index for row in rows for index in row], np.int64)
    return Ragged(flat, [*map(len, rows)])
