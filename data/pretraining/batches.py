"""Batches of span-corrupted rows: a pure function of (seed, step).

Shapes: B rows of a global batch; S encoder and T decoder positions. Example
step * B + i is row i of batch `step`, whoever asks for it: shard h of n gets rows
[h * B / n, (h + 1) * B / n). Resuming needs the step's number and nothing else.
"""

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
    """Lays rows out as a batch; the model decides which arrays that has."""

    def __call__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        input_segments: np.ndarray | None = None,
        target_segments: np.ndarray | None = None,
    ) -> Batch:
        """Returns the batch of int32 ids [B, S] and [B, T], 0 at padding.

        Segments are given where rows are packed: 1, 2, ... for the examples of a row,
        0 at padding.
        """


# Cuts of the evaluation set: fixed, so that every run is measured on the same rows.
_EVAL_SEED = 20211104
PREFETCH_BATCHES = 4


class PretrainBatches:
    """Endless shuffled batches for training.

    Every epoch holds each row of the split once (the tail shorter than a row is left
    out), in another order and with other cuts.

    Attributes:
        batch_size: B, over all shards.
        lengths: raw length, S and T.
        num_rows: rows of the split, an epoch.
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
        """Checks everything; reads nothing yet.

        Args:
            store: the corpus.
            make_batch: lays rows out as a batch.
            split: of the store.
            batch_size: rows of a batch, over all shards.
            encoder_length: S.
            noise_density: see `span_corruption.raw_length`.
            mean_noise_span_length: see `span_corruption.raw_length`.
            seed: of the rows' order, and of what is cut out.

        Raises:
            DataError: lengths that span corruption cannot meet, a batch size below 1, a
                seed that is not in [0, 2^32), fewer rows than a batch.
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
        """Epochs seen before batch `step`."""
        return step * self.batch_size / self.num_rows

    def batch(self, step: int, shard: int = 0, num_shards: int = 1) -> Batch:
        """A shard of batch `step`: B / num_shards rows, laid out by `make_batch`."""
        if step < 0:
            raise DataError(f"Step {step} is negative.")
        return self._shard(shard, num_shards)[step]

    def iterate(
        self, start_step: int = 0, shard: int = 0, num_shards: int = 1
    ) -> Iterator[Batch]:
        """Batches `start_step`, `start_step + 1`, ... made ahead in a thread.

        Each equals `batch(step, shard, num_shards)`. Call the iterator's `close()`
        when done with it.
        """
        batches = self._shard(shard, num_shards)[start_step:]
        # More than one reading thread is slower: the work holds Python's lock.
        options = grain.ReadOptions(
            num_threads=1, prefetch_buffer_size=PREFETCH_BATCHES
        )
        return iter(batches.to_iter_dataset(options))

    def _shard(self, shard: int, num_shards: int) -> grain.MapDataset:
        """A shard's batches, by step: part `shard` of each batch's `num_shards`."""
        rows = len(shard_rows(self.batch_size, shard, num_shards))
        batches = self._examples.batch(
            rows, drop_remainder=True, batch_fn=self._corrupt
        )
        return batches[shard::num_shards]

    def _example(
        self, row: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw tokens of a row and the keys of its cuts; the cutting is by batch."""
        raw = self.lengths.raw
        tokens = self._split.read(row * raw, raw)
        return tokens, span_corruption.draw_keys(rng, raw)

    def _corrupt(self, examples: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
        tokens, keys = map(np.stack, zip(*examples))
        return self._make_batch(
            *span_corruption.corrupt(tokens, keys, self._vocab_size, *self._corruption)
        )


class EvalBatches:
    """A fixed set of batches: every row of a split, always cut alike.

    The last row may be shorter, and the last batch is filled with rows of padding,
    whose targets weigh nothing, so nothing is left out.

    Attributes:
        batch_size, lengths: as of `PretrainBatches`.
        num_rows: rows in the set, without padding.
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
        """Checks everything; reads nothing yet.

        Args:
            store: the corpus.
            make_batch: lays rows out as a batch.
            split: of the store.
            batch_size: rows of a batch, over all shards.
            encoder_length: S.
            noise_density: see `span_corruption.raw_length`.
            mean_noise_span_length: see `span_corruption.raw_length`.
            max_rows: take this many rows, spread evenly over the split; None => all.

        Raises:
            DataError: bad lengths, batch size or `max_rows`, or a split with no row.
        """
        check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or none.")
        self.batch_size = batch_size
        self._make_batch = make_batch
        self._corruption = (noise_density, mean_noise_span_length)
        self.lengths = span_corruption.raw_length(encoder_length, *self._corruption)
        self._vocab_size = store.vocabulary.size
        self._split = store.split(split)
        total, tail = divmod(self._split.num_tokens, self.lengths.raw)
        total += tail >= 2  # text and noise: a row is at least two tokens
        if not total:
            raise DataError(
                f"Split {split!r} of {store.path!r} has {self._split.num_tokens} "
                "tokens: too few for a row; at least 2 are needed."
            )
        self.num_rows = total if max_rows is None else min(max_rows, total)
        self._rows = [k * total // self.num_rows for k in range(self.num_rows)]

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int, shard: int = 0, num_shards: int = 1) -> Batch:
        """A shard of batch `index`; as `PretrainBatches.batch`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        rows = shard_rows(self.batch_size, shard, num_shards)
        first = index * self.batch_size
        wanted = self._rows[first + rows.start : first + rows.stop]
        inputs = np.full((len(rows), self.lengths.inputs), PAD_ID, np.int32)
        targets = np.full((len(rows), self.lengths.targets), PAD_ID, np.int32)
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
    """Raises DataError if it is below 1."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; accepted is 1 or more.")


def shard_rows(batch_size: int, shard: int, num_shards: int) -> range:
    """The rows of a batch that a shard has; DataError if they cannot be divided."""
    if num_shards < 1 or batch_size % num_shards:
        raise DataError(
            f"A batch of {batch_size} rows cannot be divided among {num_shards} "
            "shards; batch_size must be a multiple of their number."
        )
    if not 0 <= shard < num_shards:
        raise DataError(f"Shard {shard} is not in [0, {num_shards}).")
    rows = batch_size // num_shards
    return range(shard * rows, (shard + 1) * rows)
