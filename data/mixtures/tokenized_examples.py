"""Tokenises the examples of a task and packs them into rows.

Shapes: N examples; S encoder and T decoder positions, end-of-sequence included.
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

_CHUNK = 4096  # texts encoded at a time
# Rows that packing keeps open. At four characters per token and rows of 512 tokens,
# BoolQ's validation set fills 1,078 rows with 32 open rows, 1,067 with 128 and 1,062
# with 512; the lower bound is 1,025.
_OPEN_ROWS = 128


class TextExample(Protocol):
    """An example to tokenise, such as a `tasks.task.Example`.

    Attributes:
        inputs: text for the encoder.
        targets: text for the decoder.
    """

    inputs: str
    targets: str


class Ragged:
    """Sequences of different lengths, stored in one array.

    Args:
        flat: the concatenated sequences.
        lengths: length of each, [N].

    Attributes:
        flat: the concatenated sequences.
        offsets: start of each in `flat`, and the end, int64 [N + 1].
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
        """Length of each sequence, int64 [N]."""
        return np.diff(self.offsets)


@dataclasses.dataclass(frozen=True)
class TokenizedExamples:
    """Tokenised inputs and targets, each ending with end-of-sequence.

    Attributes:
        inputs, targets: the N examples' tokens, at most S and T each.
        truncated_inputs, truncated_targets: number of truncated sequences.
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
    """Tokenises examples, truncating those that are too long; EOS is always kept.

    Args:
        examples: the examples of one task.
        vocabulary: the model's vocabulary.
        encoder_length: S.
        decoder_length: T.
        num_threads: SentencePiece threads; None => one per core.
        parse_sentinels: whether `<extra_id_N>` is a sentinel rather than plain text.

    Raises:
        DataError: a length is below 2, which leaves no room for a token.
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
    """Encodes texts as sequences of at most `length` tokens, EOS included.

    Args:
        texts: the texts.
        vocabulary: the model's vocabulary.
        length: largest number of tokens, at least 2.
        num_threads: SentencePiece threads; None => one per core.
        parse_sentinels: whether `<extra_id_N>` is a sentinel rather than plain text.

    Returns:
        The sequences, and how many of them were truncated.
    """
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
    """Raises DataError if a length leaves no room for a token before EOS."""
    if length < 2:
        raise DataError(f"{name} is {length}; accepted is 2 or more.")


def pack(
    examples: TokenizedExamples,
    order: np.ndarray,
    encoder_length: int,
    decoder_length: int,
) -> Ragged:
    """Packs examples into rows of at most S input and T target tokens.

    Each example goes into the first open row with room for its inputs and targets, else
    into a new row, which closes the oldest open row if there are too many. The result
    is deterministic.

    Args:
        examples: the N examples of one task, of at most S and T tokens.
        order: the order in which to pack them, a permutation, int [N].
        encoder_length: S.
        decoder_length: T.

    Returns:
        For each row, the indices of its examples.
    """
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[]] * _OPEN_ROWS
    # Remaining room for inputs and targets in each open row; none at first.
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
