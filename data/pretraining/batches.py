"""Batches of span-corrupted rows, a pure function of (seed, step).

Shapes: B rows of a global batch; S encoder and T decoder positions. Row i of batch
`step` is example step * B + i, whichever rows a process asks for. Resuming therefore
needs only the step.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Protocol

import grain
import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.pretraining import span_corruption
from clinometer.data.store.token_store import TokenStore
from clinometer.data.store.vocabulary import PAD_ID

Batch = dict[str, np.ndarray]


class MakeBatch(Protocol):
    """A function that makes a batch from rows; the model determines its arrays."""

    def __call__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        input_segments: np.ndarray | None = None,
        target_segments: np.ndarray | None = None,
    ) -> Batch:
        """Returns a batch.

        Args:
            inputs: token ids for the encoder, int32 [B, S], 0 at padding.
            targets: token ids for the decoder, int32 [B, T], 0 at padding.
            input_segments: for packed rows, the number of each token's example in its
                row, from 1, int32 [B, S], 0 at padding; None without packing.
            target_segments: likewise for `targets`, int32 [B, T].
        """


# Seed of the evaluation set's corruption, fixed so that all runs use the same rows.
_EVAL_SEED = 20211104
_PREFETCH_BATCHES = 4
_ENDLESS = 1 << 40
# How `PretrainBatches` draws the order of the data from its seed. Runs of different
# protocols do not share orders, even where their seeds are equal.
ORDER_PROTOCOL = "shuffled epochs"


class PretrainBatches:
    """An infinite sequence of shuffled training batches.

    Every epoch contains each row of the split once, in a new order and with new noise
    spans. An incomplete row at the end of the split is dropped.

    Attributes:
        batch_size: B, over all processes.
        lengths: raw length, S and T.
        num_rows: number of rows in the split, which is an epoch.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        make_batch: MakeBatch,
        split: str = "train",
        batch_size: int,
        encoder_length: int,
        noise_density: float = 0.15,
        mean_noise_span_length: float = 3.0,
        seed: int = 0,
    ):
        """Checks the arguments; tokens are read later.

        Args:
            store: the token store.
            make_batch: makes a batch of arrays from rows of tokens.
            split: the split of the store.
            batch_size: B, over all processes.
            encoder_length: S.
            noise_density: see `span_corruption.raw_length`.
            mean_noise_span_length: see `span_corruption.raw_length`.
            seed: seed of the rows' order and of the noise spans, in [0, 2^32).

        Raises:
            DataError: span corruption cannot produce these lengths, `batch_size` is
                below 1, `seed` is out of range, or the split has less than B rows.
        """
        check_batch_size(batch_size)
        if not 0 <= seed < 1 << 32:
            raise DataError(f"Data seed {seed} is not in [0, 2^32).")
        self.batch_size = batch_size
        self._make_batch = make_batch
        self._corruption = (noise_density, mean_noise_span_length)
        self.lengths = span_corruption.raw_length(encoder_length, *self._corruption)
        self._vocab_size = store.vocabulary.size
        self._split = store.split(split)
        tokens = self._split.num_tokens
        self.num_rows = tokens // self.lengths.raw
        if self.num_rows < batch_size:
            raise DataError(
                f"Split {split!r} of {store.path!r} has {tokens} tokens, "
                f"{self.num_rows} rows of {self.lengths.raw}; a batch of {batch_size} "
                f"rows needs {batch_size * self.lengths.raw} tokens."
            )
        self._examples = (
            grain.MapDataset.range(self.num_rows)
            .seed(seed)
            .shuffle()
            .repeat()
            .random_map(self._example)
        )

    def epoch(self, step: int) -> float:
        """Returns the number of epochs seen before batch `step`."""
        return step * self.batch_size / self.num_rows

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
        first = step * self.batch_size
        return self._corrupt(
            [self._examples[first + row] for row in rows_of(self.batch_size, rows)]
        )

    def iterate(
        self, start_step: int = 0, rows: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Returns an iterator over the batches from `start_step` on.

        The batches equal `batch(step, rows)` and are prefetched in a background thread.
        Call the iterator's `close()` when it is no longer needed.

        Args:
            start_step: index of the first batch.
            rows: indices of rows of each batch; None for all.

        Raises:
            DataError: an argument is out of range.
        """
        return prefetched(self.batch, start_step, rows_of(self.batch_size, rows))

    def _example(
        self, row: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the raw tokens of a row and the random keys for its corruption."""
        raw = self.lengths.raw
        tokens = self._split.read(row * raw, raw)
        return tokens, span_corruption.draw_keys(rng, raw)

    def _corrupt(self, examples: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
        tokens, keys = map(np.stack, zip(*examples))
        return self._make_batch(
            *span_corruption.corrupt(tokens, keys, self._vocab_size, *self._corruption)
        )


class EvalBatches:
    """A fixed set of batches with every row of a split and fixed noise spans.

    All tokens are used: the last row may be shorter than the others, and the last batch
    is filled up with rows of padding, which have no weight in the loss.

    Attributes:
        batch_size, lengths: as in `PretrainBatches`.
        num_rows: number of rows, without padding.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        make_batch: MakeBatch,
        split: str = "validation",
        batch_size: int,
        encoder_length: int,
        noise_density: float = 0.15,
        mean_noise_span_length: float = 3.0,
        max_rows: int | None = None,
    ):
        """Checks the arguments; tokens are read later.

        Args:
            store: the token store.
            make_batch: makes a batch of arrays from rows of tokens.
            split: the split of the store.
            batch_size: B, over all processes.
            encoder_length: S.
            noise_density: see `span_corruption.raw_length`.
            mean_noise_span_length: see `span_corruption.raw_length`.
            max_rows: number of rows to use, evenly spaced over the split; None => all.

        Raises:
            DataError: span corruption cannot produce these lengths, `batch_size` or
                `max_rows` is below 1, or the split has less than 2 tokens.
        """
        check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or None.")
        self.batch_size = batch_size
        self._make_batch = make_batch
        self._corruption = (noise_density, mean_noise_span_length)
        self.lengths = span_corruption.raw_length(encoder_length, *self._corruption)
        self._vocab_size = store.vocabulary.size
        self._split = store.split(split)
        total, tail = divmod(self._split.num_tokens, self.lengths.raw)
        total += tail >= 2  # A row has at least one text and one noise token.
        if not total:
            raise DataError(
                f"Split {split!r} of {store.path!r} has {self._split.num_tokens} "
                "tokens; at least 2 are needed for a row."
            )
        self.num_rows = total if max_rows is None else min(max_rows, total)
        self._rows = [k * total // self.num_rows for k in range(self.num_rows)]

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int) -> Batch:
        """Returns batch `index`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        first = index * self.batch_size
        wanted = self._rows[first : first + self.batch_size]
        inputs = np.full((self.batch_size, self.lengths.inputs), PAD_ID, np.int32)
        targets = np.full((self.batch_size, self.lengths.targets), PAD_ID, np.int32)
        for place, row in enumerate(wanted):
            row_inputs, row_targets = self._example(row)
            inputs[place, : len(row_inputs)] = row_inputs
            targets[place, : len(row_targets)] = row_targets
        return self._make_batch(inputs, targets)

    def _example(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        start = row * self.lengths.raw
        length = min(self.lengths.raw, self._split.num_tokens - start)
        rng = np.random.Generator(np.random.Philox(key=[_EVAL_SEED, row]))
        inputs, targets = span_corruption.corrupt(
            self._split.read(start, length)[None],
            span_corruption.draw_keys(rng, length)[None],
            self._vocab_size,
            *self._corruption,
        )
        return inputs[0], targets[0]


def check_batch_size(batch_size: int) -> None:
    """Raises DataError if a batch size is below 1."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; accepted is 1 or more.")


def rows_of(batch_size: int, rows: Sequence[int] | None) -> Sequence[int]:
    """Returns the given rows of a batch, or all.

    Args:
        batch_size: B, over all processes.
        rows: indices of rows; None for all.

    Raises:
        DataError: there are no rows, or one is not in the batch.
    """
    if rows is None:
        return range(batch_size)
    if not len(rows) or min(rows) < 0 or max(rows) >= batch_size:
        raise DataError(
            f"Rows {list(rows)} of a batch of {batch_size}; accepted are one or more "
            f"of 0 to {batch_size - 1}."
        )
    return rows


def prefetched(
    make_batch: Callable[[int, Sequence[int]], Batch],
    start_step: int,
    rows: Sequence[int],
    threads: int = 1,
) -> Iterator[Batch]:
    """Returns an iterator over batches that background threads make in advance.

    Args:
        make_batch: function of the step and the rows.
        start_step: index of the first batch.
        rows: indices of rows of each batch.
        threads: number of threads. For text more than one is slower, as the work holds
            Python's interpreter lock; decoding of images does not.
    """
    made = grain.MapDataset.range(start_step, _ENDLESS).map(
        lambda step: make_batch(int(step), rows)
    )
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(_PREFETCH_BATCHES, 2 * threads)
    )
    return iter(made.to_iter_dataset(options))
