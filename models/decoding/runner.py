"""Applies a decoding function to many examples, compiled once per length bucket.

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

from clinometer import kernels
from clinometer.models import config as config_lib
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import model as seq2seq

SHORTEST_BUCKET = 32

# (params, encoder tokens int32 [B, S], row ids int32 [B]) -> tree of leaves [B, ...]
Function = Callable[[seq2seq.Params, jax.Array, jax.Array], Any]


@dataclasses.dataclass(frozen=True)
class DecodingStatistics:
    """Statistics of one call of a `Runner`.

    Attributes:
        examples: number of examples, N.
        batches: number of batches.
        compilations: programs compiled in this call; 0 once all buckets were used.
        compile_seconds: wall time of compilation.
        run_seconds: wall time from the first batch to the last result.
    """

    examples: int
    batches: int
    compilations: int
    compile_seconds: float
    run_seconds: float

    @property
    def sequences_per_second(self) -> float:
        """Examples per second, excluding compilation."""
        return self.examples / self.run_seconds


class Runner:
    """Applies a function to tokenised examples, in batches of a few shapes.

    Inputs are padded to the shortest bucket that holds them, and batches to
    `batch_size` with rows of padding, for which nothing is decoded. A bucket is
    compiled when it is first needed, for parameters of fixed shapes, dtypes and
    sharding. Parameters on a mesh are used there: within `kernels.shard_over`, its
    devices share each batch, and every process gets all results.

        function = lambda params, inputs, rows: decoding.sample(
            model, params, inputs, 64, jax.random.key(0), rows, top_p=0.9
        )
        runner = decoding.Runner(model, function, batch_size=32, max_input_length=512)
        decoded, report = runner(params, examples)  # decoded.tokens: [N, 64]

    Args:
        model: the model that the examples are inputs of.
        function: function that can be jitted; row ids are indices into the list of
            examples. A row of its result may only depend on the same row of its inputs
            (see `stepwise.generate`).
        batch_size: B of every batch.
        max_input_length: length of the longest bucket, which the model must accept.
        lengths: lengths of all buckets; None for those of 32, 64, 128, ... that the
            model accepts, and `max_input_length`.

    Raises:
        ValueError: a size is out of range.
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
                f"Runner: lengths: must be positive, the largest being "
                f"max_input_length, {max_input_length}; got {list(lengths)}"
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
        # Lengths given by the caller raise an error if the model rejects them.
        self._is_taken = dict.fromkeys(lengths or [max_input_length], True)
        self._programs: dict[int, Any] = {}

    def __call__(
        self, params: seq2seq.Params, examples: Sequence[Sequence[int]]
    ) -> tuple[Any, DecodingStatistics]:
        """Applies the function to all examples.

        Args:
            params: the model's parameters.
            examples: encoder tokens of each example, as in training (with EOS).

        Returns:
            The function's results in the order of the examples, a tree of NumPy arrays
            [N, ...], and statistics.

        Raises:
            ValueError: there are no examples, or an example is empty, too long, or
                contains a token that is padding or outside of the vocabulary.
            ConfigError: the model does not accept `max_input_length` or one of the
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
                # Fetch the previous batch's results while this batch computes.
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
            raise ValueError("Runner: examples: must not be empty")
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
                    f"Runner: example {row}: {len(example)} tokens exceed "
                    f"max_input_length, {self._max_input_length}; truncate the example "
                    "or increase max_input_length"
                )
            outside = (example <= batch_lib.PAD_ID) | (example >= vocab_size)
            if outside.any():
                raise ValueError(
                    f"Runner: example {row}: token {example[outside][0]} is not in "
                    f"[1, {vocab_size}), the model's vocabulary without padding"
                )

    def _bucket(self, params: seq2seq.Params, size: int) -> int:
        """Returns the shortest bucket of at least `size` that the model accepts."""
        lengths = [length for length in self._lengths if length >= size]
        return next(length for length in lengths if self._takes(params, length))

    def _takes(self, params: seq2seq.Params, length: int) -> bool:
        if length not in self._is_taken:
            tokens = jax.ShapeDtypeStruct((self._batch_size, length), jnp.int32)
            try:
                jax.eval_shape(self._model.encode, params, tokens)
                self._is_taken[length] = True
            except config_lib.ConfigError:  # E.g. mixer and funnel models.
                self._is_taken[length] = False
        return self._is_taken[length]

    def _compile(self, params: seq2seq.Params, length: int) -> Any:
        whole = _whole(params)

        def function(params: seq2seq.Params, tokens: jax.Array, rows: jax.Array) -> Any:
            tokens = kernels.constrain(tokens, ("batch", None))
            return self._function(params, tokens, kernels.constrain(rows, ("batch",)))

        inputs = [
            jax.ShapeDtypeStruct(shape, jnp.int32, sharding=whole)
            for shape in ((self._batch_size, length), (self._batch_size,))
        ]
        return jax.jit(function, out_shardings=whole).lower(params, *inputs).compile()

    def _batch(
        self, examples: list[np.ndarray], length: int, rows: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns tokens [B, S] and row ids [B]; missing rows are filler with id 0."""
        tokens = np.full((self._batch_size, length), batch_lib.PAD_ID, np.int32)
        for place, example in enumerate(examples):
            tokens[place, : len(example)] = example
        row_ids = np.zeros(self._batch_size, np.int32)
        row_ids[: len(rows)] = rows
        return tokens, row_ids


def _whole(params: seq2seq.Params) -> jax.sharding.NamedSharding | None:
    """Returns the sharding of arrays that all devices of the parameters' mesh hold."""
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return None
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())


class _Results:
    """Collects the rows of results that arrive out of order."""

    def __init__(self, num_examples: int):
        self._num_examples = num_examples
        self._leaves: list[np.ndarray] | None = None
        self._structure = None

    def put(self, rows: list[int], output: Any) -> None:
        """Waits for a batch's output and stores its first rows at `rows`."""
        leaves, self._structure = jax.tree.flatten(jax.device_get(output))
        if self._leaves is None:
            self._leaves = [
                np.empty((self._num_examples, *leaf.shape[1:]), leaf.dtype)
                for leaf in leaves
            ]
        for whole, leaf in zip(self._leaves, leaves, strict=True):
            whole[rows] = leaf[: len(rows)]

    def tree(self) -> Any:
        """Returns the results as the function's tree, with arrays [N, ...]."""
        return jax.tree.unflatten(self._structure, self._leaves)
