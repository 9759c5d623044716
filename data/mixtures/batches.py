"""Batches of a mixture of text-to-text tasks: a pure function of (seed, step).

Shapes: B rows of a global batch; S encoder and T decoder positions. Item
step * B + i of the mixture is row i of batch `step`, whoever asks for it, as in
`batches`. An item is an example, or with packing a row of one task's examples: these
are put together once, and shuffled anew as rows in each epoch.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import fractions
import math

import grain
import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.mixtures.tokenized_examples import TokenizedExamples
from clinometer.data.pretraining import batches
from clinometer.data.pretraining.batches import Batch
from clinometer.data.pretraining.span_corruption import Lengths

_ENDLESS = 1 << 40


class FinetuneBatches:
    """Endless batches of a mixture for training.

    Attributes:
      batch_size: B, over all shards.
      lengths: S and T; `raw` is their sum, the positions of a row.
      num_rows: items of all tasks.
      interleaving: which item comes when.
    """

    def __init__(
        self,
        tasks: Mapping[str, TokenizedExamples],
        rates: Mapping[str, mixtures.Rate],
        *,
        make_batch: batches.MakeBatch,
        batch_size: int,
        encoder_length: int,
        decoder_length: int,
        packing: bool = False,
        seed: int = 0,
    ):
        """Packs, if wanted, and lays out the mixture.

        Args:
          tasks: training examples, at most S and T long.
          rates: of each task's examples, in any unit.
          make_batch: lays rows out as a batch.
          batch_size: B.
          encoder_length: S.
          decoder_length: T.
          packing: several examples in a row, told apart by segment ids, for models
            that heed these everywhere (see data/README.md). A batch has more examples
            then, still at the tasks' rates.
          seed: of the order.

        Raises:
          DataError: a rate or task is bad (see `mixtures.Interleaving`), a length or
            batch size too small, or examples are longer than S and T.
        """
        batches.check_batch_size(batch_size)
        self.batch_size = batch_size
        self._rows = _Rows(
            tasks, make_batch, encoder_length, decoder_length, packing, seed
        )
        self.lengths = self._rows.lengths
        self.num_rows = sum(self._rows.sizes.values())
        if set(rates) != set(tasks):
            raise DataError(
                f"A mixture of {', '.join(rates)} was given examples of "
                f"{', '.join(tasks) or 'no task'}."
            )
        if packing:
            rates = {name: self._row_rate(name, rate) for name, rate in rates.items()}
        self.interleaving = mixtures.Interleaving(rates, self._rows.sizes, seed)

    def _row_rate(self, name: str, rate: mixtures.Rate) -> mixtures.Rate:
        """The rate of a task's rows that is `rate` in examples."""
        num_rows, num_examples = self._rows.sizes[name], self._rows.num_examples[name]
        if not num_rows or not math.isfinite(rate):
            return rate  # an error, which `Interleaving` words
        return fractions.Fraction(rate) * fractions.Fraction(num_rows, num_examples)

    def epoch(self, step: int) -> float:
        """Items seen before batch `step`, over the number of items."""
        return step * self.batch_size / self.num_rows

    def task_epochs(self, step: int) -> dict[str, float]:
        """How often each task was seen whole before batch `step`."""
        return self.interleaving.epochs(step * self.batch_size)

    def batch(self, step: int, shard: int = 0, num_shards: int = 1) -> Batch:
        """A shard of batch `step`: B / num_shards rows, laid out by `make_batch`."""
        if step < 0:
            raise DataError(f"Step {step} is negative.")
        rows = batches.shard_rows(self.batch_size, shard, num_shards)
        first = step * self.batch_size
        places = [self.interleaving.locate(first + row) for row in rows]
        return self._rows.batch(places, len(rows))

    def iterate(
        self, start_step: int = 0, shard: int = 0, num_shards: int = 1
    ) -> Iterator[Batch]:
        """Batches `start_step`, `start_step + 1`, ... made ahead in a thread.

        Each equals `batch(step, shard, num_shards)`. Call the iterator's `close()`
        when done with it.
        """
        batches.shard_rows(self.batch_size, shard, num_shards)
        made = grain.MapDataset.range(start_step, _ENDLESS).map(
            lambda step: self.batch(int(step), shard, num_shards)
        )
        options = grain.ReadOptions(
            num_threads=1, prefetch_buffer_size=batches.PREFETCH_BATCHES
        )
        return iter(made.to_iter_dataset(options))


class FinetuneEvalBatches:
    """A fixed set of batches for the loss: every example of the tasks, once.

    The last batch is filled with rows of padding, whose targets weigh nothing.

    Attributes:
      batch_size, lengths: as of `FinetuneBatches`.
      num_rows: rows in the set, without padding.
    """

    def __init__(
        self,
        tasks: Mapping[str, TokenizedExamples],
        *,
        make_batch: batches.MakeBatch,
        batch_size: int,
        encoder_length: int,
        decoder_length: int,
        packing: bool = False,
        max_rows: int | None = None,
    ):
        """Arguments as of `FinetuneBatches`; `max_rows` are spread over the tasks."""
        batches.check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or none.")
        self.batch_size = batch_size
        self._rows = _Rows(
            tasks, make_batch, encoder_length, decoder_length, packing, seed=0
        )
        self.lengths = self._rows.lengths
        places = [
            (name, row)
            for name, size in self._rows.sizes.items()
            for row in range(size)
        ]
        if not places:
            raise DataError("There is no example to evaluate on.")
        self.num_rows = min(max_rows or len(places), len(places))
        self._places = [
            places[k * len(places) // self.num_rows] for k in range(self.num_rows)
        ]

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int, shard: int = 0, num_shards: int = 1) -> Batch:
        """A shard of batch `index`; as `FinetuneBatches.batch`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        rows = batches.shard_rows(self.batch_size, shard, num_shards)
        first = index * self.batch_size
        return self._rows.batch(
            self._places[first + rows.start : first + rows.stop], len(rows)
        )


class _Rows:
    """Rows of each task by number, and batches of them.

    Attributes:
      lengths: as of `FinetuneBatches`.
      sizes: rows of each task.
      num_examples: of each task.
    """

    def __init__(
        self,
        tasks: Mapping[str, TokenizedExamples],
        make_batch: batches.MakeBatch,
        encoder_length: int,
        decoder_length: int,
        packing: bool,
        seed: int,
    ):
        tokenized_examples.check_length("encoder_length", encoder_length)
        tokenized_examples.check_length("decoder_length", decoder_length)
        for name, examples in tasks.items():
            longest = [
                int(part.lengths.max(initial=0))
                for part in (examples.inputs, examples.targets)
            ]
            if longest[0] > encoder_length or longest[1] > decoder_length:
                raise DataError(
                    f"Task {name!r} has examples of {longest[0]} and {longest[1]} "
                    f"tokens; accepted are {encoder_length} and {decoder_length}."
                )
        self.lengths = Lengths(
            encoder_length + decoder_length, encoder_length, decoder_length
        )
        self._tasks, self._make_batch = tasks, make_batch
        self.num_examples = {name: len(examples) for name, examples in tasks.items()}
        self._packed = None
        if packing:
            self._packed = {
                name: tokenized_examples.pack(
                    examples,
                    mixtures.order(len(examples), seed, name, "packing"),
                    encoder_length,
                    decoder_length,
                )
                for name, examples in tasks.items()
            }
        self.sizes = {name: len(rows) for name, rows in (self._packed or tasks).items()}

    def batch(self, places: Sequence[tuple[str, int]], num_rows: int) -> Batch:
        """The batch of rows (task, number), filled up with padding to `num_rows`."""
        inputs = np.zeros([num_rows, self.lengths.inputs], np.int32)
        targets = np.zeros([num_rows, self.lengths.targets], np.int32)
        if self._packed is None:
            for k, (name, row) in enumerate(places):
                examples = self._tasks[name]
                _put(inputs[k], 0, examples.inputs[row])
                _put(targets[k], 0, examples.targets[row])
            return self._make_batch(inputs, targets)
        input_segments, target_segments = map(np.zeros_like, (inputs, targets))
        for k, (name, row) in enumerate(places):
            examples, start, begin = self._tasks[name], 0, 0
            for segment, index in enumerate(self._packed[name][row], start=1):
                stop = _put(inputs[k], start, examples.inputs[index])
                end = _put(targets[k], begin, examples.targets[index])
                input_segments[k, start:stop] = segment
                target_segments[k, begin:end] = segment
                start, begin = stop, end
        return self._make_batch(inputs, targets, input_segments, target_segments)


def _put(row: np.ndarray, start: int, tokens: np.ndarray) -> int:
    """Writes tokens into a row; returns where they end."""
    row[start : start + len(tokens)] = tokens
    return start + len(tokens)
