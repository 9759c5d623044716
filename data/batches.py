"""Batches of span-corrupted rows: a pure function of (seed, step).

Shapes: B rows of a global batch; S encoder and T decoder positions. Example
step * B + i is row i of batch `step`, whoever asks for it: shard h of n gets rows
[h * B / n, (h + 1) * B / n). Resuming needs the step's number and nothing else.
"""

import sys
from collections.abc import Iterator

import grain
import numpy as np

from clinometer.data import span_corruption
from clinometer.data.errors import DataError
from clinometer.data.token_store import Split, TokenStore
from clinometer.data.vocabulary import PAD_ID

Batch = dict[str, np.ndarray]

# Cuts of the evaluation set: fixed, so that every run is measured on the same rows.
_EVAL_SEED = 20211104
_PREFETCH_BATCHES = 4


class _Rows:
    """Row k of raw length n of a split, as Grain wants a source."""

    def __init__(self, split: Split, raw: int):
        self._split, self._raw = split, raw

    def __len__(self) -> int:
        return self._split.num_tokens // self._raw

    def __getitem__(self, index: int) -> np.ndarray:
        return self._split.read(int(index) * self._raw, self._raw)


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
        split: str = "train",
        batch_size: int,
        encoder_length: int,
        noise_density: float = 0.15,
        mean_noise_span_length: float = 3.0,
        seed: int = 0,
    ):
        """Checks everything; reads nothing yet.

        Raises:
          DataError: lengths that span corruption cannot meet, a batch size below 1, a
            seed that is not in [0, 2^32), fewer rows than a batch.
        """
        _check_batch_size(batch_size)
        if not 0 <= seed < 1 << 32:
            raise DataError(f"Data seed {seed} is not in [0, 2^32).")
        self.batch_size = batch_size
        self._corruption = (noise_density, mean_noise_span_length)
        self.lengths = span_corruption.raw_length(encoder_length, *self._corruption)
        self._vocab_size = store.vocabulary.size
        tokens = store.split(split)
        rows = _Rows(tokens, self.lengths.raw)
        self.num_rows = len(rows)
        if self.num_rows < batch_size:
            raise DataError(
                f"Split {split!r} of {store.path!r} has {tokens.num_tokens} tokens, "
                f"{self.num_rows} rows of {self.lengths.raw}; a batch of {batch_size} "
                f"rows needs {batch_size * self.lengths.raw} tokens."
            )
        self._examples = (
            grain.MapDataset.source(rows)
            .seed(seed)
            .shuffle()
            .repeat()
            .random_map(self._corrupt)
        )

    def epoch(self, step: int) -> float:
        """Epochs seen before batch `step`."""
        return step * self.batch_size / self.num_rows

    def batch(self, step: int, shard: int = 0, num_shards: int = 1) -> Batch:
        """A shard of batch `step`.

        Returns:
          `encoder_input_tokens` [B / num_shards, S], `decoder_target_tokens` and
          `decoder_input_tokens` [B / num_shards, T], all int32.
        """
        rows = _shard_rows(self.batch_size, shard, num_shards)
        if step < 0:
            raise DataError(f"Step {step} is negative.")
        first = step * self.batch_size
        examples = [self._examples[first + row] for row in rows]
        return _assemble(examples, len(rows), self.lengths)

    def iterate(
        self, start_step: int = 0, shard: int = 0, num_shards: int = 1
    ) -> Iterator[Batch]:
        """Batches `start_step`, `start_step + 1`, ... made ahead in a thread.

        Each equals `batch(step, shard, num_shards)`. Call the iterator's `close()`
        when done with it.
        """
        _shard_rows(self.batch_size, shard, num_shards)
        steps = grain.MapDataset.source(_Steps(self, shard, num_shards))
        # More than one reading thread is slower: the work holds Python's lock.
        options = grain.ReadOptions(
            num_threads=1, prefetch_buffer_size=_PREFETCH_BATCHES
        )
        return iter(steps[start_step:].to_iter_dataset(options))

    def _corrupt(
        self, tokens: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return span_corruption.corrupt(tokens, rng, self._vocab_size, *self._corruption)


class _Steps:
    """All batches of a shard, as Grain wants a source."""

    def __init__(self, batches: PretrainBatches, shard: int, num_shards: int):
        self._batches, self._shard, self._num_shards = batches, shard, num_shards

    def __len__(self) -> int:
        return sys.maxsize // self._batches.batch_size

    def __getitem__(self, step: int) -> Batch:
        return self._batches.batch(int(step), self._shard, self._num_shards)


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
        split: str = "validation",
        batch_size: int,
        encoder_length: int,
        noise_density: float = 0.15,
        mean_noise_span_length: float = 3.0,
        max_rows: int | None = None,
    ):
        """Checks everything; reads nothing yet.

        Args:
          store, split, batch_size, encoder_length, noise_density,
            mean_noise_span_length: as of `PretrainBatches`.
          max_rows: take this many rows, spread evenly over the split; None => all.

        Raises:
          DataError: bad lengths, batch size or `max_rows`, or a split with no row.
        """
        _check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or none.")
        self.batch_size = batch_size
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
        """A shard of batch `index`; shapes as of `PretrainBatches.batch`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        rows = _shard_rows(self.batch_size, shard, num_shards)
        first = index * self.batch_size
        wanted = self._rows[first + rows.start : first + rows.stop]
        examples = [self._example(row) for row in wanted]
        return _assemble(examples, len(rows), self.lengths)

    def _example(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        start = row * self.lengths.raw
        length = min(self.lengths.raw, self._split.num_tokens - start)
        rng = np.random.Generator(np.random.Philox(key=[_EVAL_SEED, row]))
        return span_corruption.corrupt(
            self._split.read(start, length), rng, self._vocab_size, *self._corruption
        )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; accepted is 1 or more.")


def _shard_rows(batch_size: int, shard: int, num_shards: int) -> range:
    if num_shards < 1 or batch_size % num_shards:
        raise DataError(
            f"A batch of {batch_size} rows cannot be divided among {num_shards} "
            "shards; batch_size must be a multiple of their number."
        )
    if not 0 <= shard < num_shards:
        raise DataError(f"Shard {shard} is not in [0, {num_shards}).")
    rows = batch_size // num_shards
    return range(shard * rows, (shard + 1) * rows)


def _assemble(
    examples: list[tuple[np.ndarray, np.ndarray]],
    num_rows: int,
    lengths: span_corruption.Lengths,
) -> Batch:
    """Stacks (inputs, targets), padded to full lengths and to `num_rows` rows."""
    inputs = np.full((num_rows, lengths.inputs), PAD_ID, np.int32)
    targets = np.full((num_rows, lengths.targets), PAD_ID, np.int32)
    for row, (example_inputs, example_targets) in enumerate(examples):
        inputs[row, : len(example_inputs)] = example_inputs
        targets[row, : len(example_targets)] = example_targets
    # The decoder starts with id 0, which is padding's, and sees targets shifted.
    decoder_inputs = np.full_like(targets, PAD_ID)
    decoder_inputs[:, 1:] = targets[:, :-1]
    return {
        "encoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_input_tokens": decoder_inputs,
    }
