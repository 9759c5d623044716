"""Runs a decoding function over many examples, compiled once per bucket of lengths.

Shapes: B batch, S encoder length, N examples.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models import config as config_lib
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import model as seq2seq

SHORTEST_BUCKET = 32

# (params, encoder tokens int32 [B, S], row ids int32 [B]) -> tree of leaves [B, ...]
Function = Callable[[seq2seq.Params, jax.Array, jax.Array], Any]


@dataclasses.dataclass(frozen=True)
class DecodingStatistics:
    """What a call of a `Runner` took.

    Attributes:
        examples: N.
        batches: calls of a compiled program.
        compilations: programs compiled in this call; 0 once all lengths were seen.
        compile_seconds: wall time of those.
        run_seconds: wall time of the rest, from the first batch to the last result.
    """

    examples: int
    batches: int
    compilations: int
    compile_seconds: float
    run_seconds: float

    @property
    def sequences_per_second(self) -> float:
        """Examples per second of running, compilation left out."""
        return self.examples / self.run_seconds


class Runner:
    """Applies a function to tokenised examples, in batches of few shapes.

    Inputs are padded to the shortest bucket that holds them, and batches to
    `batch_size` with rows of padding alone, for which nothing is decoded. A bucket is
    compiled when it is first needed, for parameters of one form (shapes, dtypes,
    placement).

        function = lambda params, inputs, rows: decoding.sample(
            model, params, inputs, 64, jax.random.key(0), rows, top_p=0.9
        )
        runner = decoding.Runner(model, function, batch_size=32, max_input_length=512)
        decoded, report = runner(params, examples)  # decoded.tokens: [N, 64]

    Args:
        model: whose inputs they are.
        function: jittable; row ids are places in the list of examples. Any row of its
            result depends on that row alone (see `stepwise.generate`).
        batch_size: B of every batch.
        max_input_length: the longest bucket, which the model must take.
        lengths: all buckets; None for 32, 64, 128, ... as far as the model takes them,
            and `max_input_length`.

    Raises:
        ValueError: a size is out of range; names it.
    """

    def __init__(
        self,
        model: seq2seq.EncoderDecoder,
        function: Function,
        *,
        batch_size: int,
        max_input_length: int,
        lengths: Sequence[int] | None = None,
    ):
        for name, value in (
            ("batch_size", batch_size),
            ("max_input_length", max_input_length),
        ):
            if value < 1:
                raise ValueError(f"Runner: {name}: must be at least 1, got {value}")
        if lengths is not None and (
            not len(lengths) or min(lengths) < 1 or max(lengths) != max_input_length
        ):
            raise ValueError(
                f"Runner: lengths: must be positive up to max_input_length, "
                f"{max_input_length}, got {list(lengths)}"
            )
        doubled, length = [], SHORTEST_BUCKET
        while length < max_input_length:
            doubled.append(length)
            length *= 2
        self._model = model
        self._function = function
        self._batch_size = batch_size
        self._max_input_length = max_input_length
        self._lengths = sorted({*(lengths or doubled), max_input_length})
        # What the caller asks for is an error where the model does not take it.
        self._is_taken = dict.fromkeys(lengths or [max_input_length], True)
        self._programs: dict[int, Any] = {}

    def __call__(
        self, params: seq2seq.Params, examples: Sequence[Sequence[int]]
    ) -> tuple[Any, DecodingStatistics]:
        """Returns the function's results in the examples' order, and what they took.

        Args:
            params: the model's parameters.
            examples: encoder tokens of each, as they are taught (EOS at their end).

        Returns:
            A tree of NumPy arrays [N, ...], and a report.

        Raises:
            ValueError: no examples, an empty one, one that is too long, or a token that
                is padding or outside of the vocabulary; says which.
            ConfigError: the model does not take `max_input_length`, or one of the
                given `lengths`.
        """
        examples = [np.asarray(example) for example in examples]
        self._check(examples)
        buckets: dict[int, list[int]] = {}
        for row, example in enumerate(examples):
            length = self._bucket(params, len(example))
            buckets.setdefault(length, []).append(row)

        started = time.perf_counter()
        new = sorted(set(buckets) - set(self._programs))
        for length in new:
            self._programs[length] = self._compile(params, length)
        compiled = time.perf_counter()

        results = _Results(len(examples))
        num_batches, running = 0, None
        for length, bucket in sorted(buckets.items()):
            for begin in range(0, len(bucket), self._batch_size):
                rows = bucket[begin : begin + self._batch_size]
                batch = self._batch([examples[row] for row in rows], length, rows)
                output = self._programs[length](params, *batch)
                # One batch computes while the results of the one before are fetched.
                if running is not None:
                    results.put(*running)
                running = rows, output
                num_batches += 1
        results.put(*running)
        ended = time.perf_counter()
        return results.tree(), DecodingStatistics(
            examples=len(examples),
            batches=num_batches,
            compilations=len(new),
            compile_seconds=compiled - started,
            run_seconds=ended - compiled,
        )

    def _check(self, examples: list[np.ndarray]) -> None:
        if not examples:
            raise ValueError("Runner: examples: there are none")
        vocab_size = self._model.config.vocab_size
        for row, example in enumerate(examples):
            if example.ndim != 1 or not example.size:
                raise ValueError(
                    f"Runner: example {row}: must be a list of at least one token, got "
                    f"shape {list(example.shape)}"
                )
            if example.dtype.kind not in "iu":
                raise ValueError(
                    f"Runner: example {row}: must be integers, got {example.dtype}"
                )
            if len(example) > self._max_input_length:
                raise ValueError(
                    f"Runner: example {row}: {len(example)} tokens are more than "
                    f"max_input_length, {self._max_input_length}; cut it or raise that"
                )
            outside = (example <= batch_lib.PAD_ID) | (example >= vocab_size)
            if outside.any():
                raise ValueError(
                    f"Runner: example {row}: token {example[outside][0]} is not in "
                    f"[1, {vocab_size}), the model's vocabulary without padding"
                )

    def _bucket(self, params: seq2seq.Params, size: int) -> int:
        """Returns the shortest bucket of at least `size` that the model takes."""
        lengths = [length for length in self._lengths if length >= size]
        return next(length for length in lengths if self._takes(params, length))

    def _takes(self, params: seq2seq.Params, length: int) -> bool:
        if length not in self._is_taken:
            tokens = jax.ShapeDtypeStruct((self._batch_size, length), jnp.int32)
            try:
                jax.eval_shape(self._model.encode, params, tokens)
                self._is_taken[length] = True
            except config_lib.ConfigError:  # Mixers have one length, funnels multiples.
                self._is_taken[length] = False
        return self._is_taken[length]

    def _compile(self, params: seq2seq.Params, length: int) -> Any:
        tokens = jax.ShapeDtypeStruct((self._batch_size, length), jnp.int32)
        rows = jax.ShapeDtypeStruct((self._batch_size,), jnp.int32)
        return jax.jit(self._function).lower(params, tokens, rows).compile()

    def _batch(
        self, examples: list[np.ndarray], length: int, rows: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns tokens [B, S] and row ids [B]; what is missing is filler of row 0."""
        tokens = np.full((self._batch_size, length), batch_lib.PAD_ID, np.int32)
        for place, example in enumerate(examples):
            tokens[place, : len(example)] = example
        row_ids = np.zeros(self._batch_size, np.int32)
        row_ids[: len(rows)] = rows
        return tokens, row_ids


class _Results:
    """Collects rows of results out of order."""

    def __init__(self, num_examples: int):
        self._num_examples = num_examples
        self._leaves: list[np.ndarray] | None = None
        self._structure = None

    def put(self, rows: list[int], output: Any) -> None:
        """Waits for a batch's output and keeps its first rows, as `rows`."""
        leaves, self._structure = jax.tree.flatten(jax.device_get(output))
        if self._leaves is None:
            self._leaves = [
                np.empty((self._num_examples, *leaf.shape[1:]), leaf.dtype)
                for leaf in leaves
            ]
        for whole, leaf in zip(self._leaves, leaves, strict=True):
            whole[rows] = leaf[: len(rows)]

    def tree(self) -> Any:
        """Returns the function's tree, of arrays [N, ...]."""
        return jax.tree.unflatten(self._structure, self._leaves)
