"""Batches of a mixture of text-to-text tasks, a pure function of (seed, step).

Shapes: B rows of a global batch; S encoder and T decoder positions. Row i of batch
`step` is item step * B + i of the mixture, whichever rows a process asks for, as in
`pretraining.batches`. An item is an example or, with packing, a row of examples of one
task. Examples are packed into rows once; the rows are reshuffled in each epoch.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import fractions
import math

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.mixtures.tokenized_examples import TokenizedExamples
from clinometer.data.pretraining import batches
from clinometer.data.pretraining.batches import Batch
from clinometer.data.pretraining.span_corruption import Lengths


class FinetuneBatches:
    """An infinite sequence of training batches of a mixture.

    Attributes:
        batch_size: B, over all processes.
        lengths: S and T; `raw` is their sum, the number of positions in a row.
        num_rows: number of items of all tasks.
        interleaving: the order of the items.
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
        """Packs the examples, if requested, and lays out the mixture.

        Args:
            tasks: task -> its training examples, of at most S and T tokens.
            rates: task -> the rate of its examples, in any unit.
            make_batch: makes a batch of arrays from rows of tokens.
            batch_size: B.
            encoder_length: S.
            decoder_length: T.
            packing: whether to pack several examples into a row, separated by segment
                ids, for models in which these isolate the examples (see
                data/README.md). Batches then have more examples, at the same rates.
            seed: seed of the order.

        Raises:
            DataError: a rate or task is invalid (see `rates.Interleaving`), a length or
                the batch size is too small, or an example is longer than S or T.
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
                f"The mixture has rates for {', '.join(rates) or 'no task'}, but "
                f"examples of {', '.join(tasks) or 'no task'}."
            )
        if packing:
            rates = {name: self._row_rate(name, rate) for name, rate in rates.items()}
        self.interleaving = mixtures.Interleaving(rates, self._rows.sizes, seed)

    def _row_rate(self, name: str, rate: mixtures.Rate) -> mixtures.Rate:
        """Returns the rate of a task's rows that gives `rate` for its examples."""
        num_rows, num_examples = self._rows.sizes[name], self._rows.num_examples[name]
        if not num_rows or not math.isfinite(rate):
            return rate  # `Interleaving` raises the error.
        return fractions.Fraction(rate) * fractions.Fraction(num_rows, num_examples)

    def epoch(self, step: int) -> float:
        """Returns the number of items seen before batch `step`, in epochs."""
        return step * self.batch_size / self.num_rows

    def task_epochs(self, step: int) -> dict[str, float]:
        """Returns the epochs of each task seen before batch `step`."""
        return self.interleaving.epochs(step * self.batch_size)

    def batch(self, step: int, rows: Sequence[int] | None = None) -> Batch:
        """Returns batch `step`, or some of its rows.

        Args:
            step: index of the batch, 0 or more.
            rows: indices of rows of the batch; None for all.

        Raises:
            DataError: an argument is out of range.
        """
        if step < 0:
            raise DataError(f"Step {step} is negative.")
        rows = batches.rows_of(self.batch_size, rows)
        first = step * self.batch_size
        places = [self.interleaving.locate(first + row) for row in rows]
        return self._rows.batch(places, len(rows))

    def iterate(
        self, start_step: int = 0, rows: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Returns an iterator; see `pretraining.batches.PretrainBatches.iterate`."""
        return batches.prefetched(
            self.batch, start_step, batches.rows_of(self.batch_size, rows)
        )


class FinetuneEvalBatches:
    """A fixed set of batches with every example of the tasks once, for the loss.

    The last batch is filled up with rows of padding, which have no weight in the loss.

    Attributes:
        batch_size, lengths: as in `FinetuneBatches`.
        num_rows: number of rows, without padding.
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
        """Packs the examples, if requested, and chooses the rows.

        Args:
            tasks: as in `FinetuneBatches`.
            make_batch: as in `FinetuneBatches`.
            batch_size: B, over all processes.
            encoder_length: S.
            decoder_length: T.
            packing: as in `FinetuneBatches`.
            max_rows: number of rows to use, evenly spaced over all tasks; None => all.

        Raises:
            DataError: a length, the batch size or `max_rows` is too small, there are no
                examples, or an example is longer than S or T.
        """
        batches.check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or None.")
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
            raise DataError("There are no examples to evaluate on.")
        self.num_rows = min(max_rows or len(places), len(places))
        self._places = [
            places[k * len(places) // self.num_rows] for k in range(self.num_rows)
        ]

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int) -> Batch:
        """Returns batch `index`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        first = index * self.batch_size
        return self._rows.batch(
            self._places[first : first + self.batch_size], self.batch_size
        )


class _Rows:
    """The rows of each task.

    Attributes:
        lengths: as in `FinetuneBatches`.
        sizes: task -> number of its rows.
        num_examples: task -> number of its examples.
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
                    f"Task {name!r} has inputs of {longest[0]} tokens and targets of "
                    f"{longest[1]}; accepted are at most {encoder_length} and "
                    f"{decoder_length}."
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
        """Returns a batch of the rows (task, index), padded to `num_rows` rows."""
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
    """Writes tokens to a row from `start` on and returns the end of the tokens."""
    row[start : start + len(tokens)] = tokens
    return start + len(tokens)
