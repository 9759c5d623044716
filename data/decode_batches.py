"""Batches of inputs to decode, in few shapes, so that nothing is compiled again.

Each input is padded to the shortest of some lengths ("buckets") that holds it; all
batches have the same number of rows. Equal inputs are decoded once.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from clinometer.data import batches
from clinometer.data import tokenized_examples
from clinometer.data.errors import DataError
from clinometer.data.vocabulary import PAD_ID
from clinometer.data.vocabulary import Vocabulary

_SHORTEST_BUCKET = 32
_PADDING_ROW = -1


class DecodeBatch(NamedTuple):
    """Inputs to decode together.

    Attributes:
      encoder_input_tokens: int32 [B, S'], S' a bucket's length.
      rows: int64 [B], which row of `DecodeBatches` each is; -1 for padding.
    """

    encoder_input_tokens: np.ndarray
    rows: np.ndarray


def bucket_lengths(encoder_length: int) -> tuple[int, ...]:
    """The usual buckets, shortest first: S, its half, ... down to 32 tokens."""
    lengths = [encoder_length]
    while lengths[-1] % 2 == 0 and lengths[-1] // 2 >= _SHORTEST_BUCKET:
        lengths.append(lengths[-1] // 2)
    return tuple(reversed(lengths))


class DecodeBatches:
    """The different inputs of some examples, shortest bucket first.

    Attributes:
      batch_size: B.
      num_rows: different inputs.
      row_of_example: int64, the row of each example's input.
      truncated: rows that had to be cut.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        vocabulary: Vocabulary,
        *,
        batch_size: int,
        encoder_length: int,
        buckets: Sequence[int] | None = None,
        num_threads: int | None = None,
    ):
        """Encodes the inputs.

        Args:
          inputs: of the examples.
          vocabulary: of the model.
          batch_size: B, over all shards.
          encoder_length: S; longer inputs are cut.
          buckets: lengths to pad to, S the largest; None => `bucket_lengths`. A model
            of one length has (S,).
          num_threads: of SentencePiece; None => one for each core.

        Raises:
          DataError: no input, a bad batch size, buckets not up to S.
        """
        batches.check_batch_size(batch_size)
        tokenized_examples.check_length("encoder_length", encoder_length)
        buckets = sorted(buckets or bucket_lengths(encoder_length))
        if buckets[0] < 1 or buckets[-1] != encoder_length:
            raise DataError(
                f"Buckets {tuple(buckets)}; accepted are lengths above 0, the largest "
                f"the encoder's, {encoder_length}."
            )
        if not inputs:
            raise DataError("There is no input to decode.")
        unique: dict[str, int] = {}
        rows = [unique.setdefault(text, len(unique)) for text in inputs]
        self.row_of_example = np.array(rows)
        self.num_rows = len(unique)
        self.batch_size = batch_size
        self._tokens, self.truncated = tokenized_examples.encode(
            unique, vocabulary, encoder_length, num_threads
        )
        self._batches = _plan(self._tokens.lengths, buckets, batch_size)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The (B, S') that occur: as many as a decoder is compiled for."""
        lengths = sorted({length for length, _ in self._batches})
        return tuple((self.batch_size, length) for length in lengths)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[DecodeBatch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int, shard: int = 0, num_shards: int = 1) -> DecodeBatch:
        """A shard of batch `index`."""
        if not 0 <= index < len(self):
            raise DataError(f"Decode batch {index} is not in [0, {len(self)}).")
        length, rows = self._batches[index]
        mine = batches.shard_rows(self.batch_size, shard, num_shards)
        rows = rows[mine.start : mine.stop]
        tokens = np.full([len(rows), length], PAD_ID, np.int32)
        for place, row in enumerate(rows):
            if row != _PADDING_ROW:
                ids = self._tokens[row]
                tokens[place, : len(ids)] = ids
        return DecodeBatch(tokens, rows)

    def by_example(self, by_row: Sequence[Any]) -> list[Any]:
        """What each example's row got, from what each row got."""
        return [by_row[row] for row in self.row_of_example]


def _plan(
    lengths: np.ndarray, buckets: Sequence[int], batch_size: int
) -> list[tuple[int, np.ndarray]]:
    """(bucket, rows [B]) of each batch; all rows, each once.

    What is left over of a bucket goes up to the next that is in use, so that only
    the last batch has padding rows.
    """
    bucket_of = np.searchsorted(buckets, lengths)
    used = sorted(set(bucket_of.tolist()))
    plan, rest = [], np.zeros(0, np.int64)
    for k in used:
        rows = np.concatenate([rest, np.flatnonzero(bucket_of == k)])
        full = len(rows) - len(rows) % batch_size
        plan += [(buckets[k], part) for part in rows[:full].reshape(-1, batch_size)]
        rest = rows[full:]
    if len(rest):
        padding = np.full(batch_size - len(rest), _PADDING_ROW)
        plan.append((buckets[used[-1]], np.concatenate([rest, padding])))
    return plan
