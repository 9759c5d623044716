"""Scores a model on downstream tasks: decodes, compares, and says how sure it is."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np

from clinometer import models
from clinometer.data.mixtures import aggregates
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.data.tasks import registry
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.kernels.options import outputs
from clinometer.models import decoding
from clinometer.train import errors
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import options as downstream_options
from clinometer.train.run import record as run_record

PREFIX = "downstream/"
# Names in a log that are no task's. SQuAD's average is its one task.
_AVERAGES = {*aggregates.AVERAGES, aggregates.OVERALL_NAME} - {*aggregates.SQUAD}


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """What came of one task.

    Attributes:
        metrics: in percent, each a `scores.Score`.
        number: their mean, the task's one number.
        examples: how many were scored.
        truncated: how many had a longer input than the model was given.
        predictions: the decoded texts.
    """

    metrics: Mapping[str, float]
    number: float
    examples: int
    truncated: int
    predictions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """What came of all tasks.

    Attributes:
        tasks: by name.
        sequences_per_second: decoded, compilation left out.
        compilations: programs that were compiled for it.
    """

    tasks: Mapping[str, TaskResult]
    sequences_per_second: float
    compilations: int

    def flat(self) -> dict[str, float]:
        """Returns the metrics as a run's log holds them, in percent."""
        found: dict[str, float] = {}
        numbers = {name: result.number for name, result in self.tasks.items()}
        for name, result in self.tasks.items():
            found[PREFIX + name] = float(result.number)
            error = scores.standard_error(result.number)
            found[f"{PREFIX}{name}/standard_error"] = error
            for metric, value in result.metrics.items():
                found[f"{PREFIX}{name}/{metric}"] = float(value)
        for name, average in averages(numbers).items():
            found[PREFIX + name] = average.value
            found[f"{PREFIX}{name}/standard_error"] = average.standard_error
        found["wall/decoded_sequences_per_second"] = self.sequences_per_second
        return {k: v for k, v in found.items() if math.isfinite(v)}


class Scorer:
    """Decodes the validation sets of some tasks and scores what comes out."""

    def __init__(
        self,
        model: models.EncoderDecoder,
        vocabulary: vocabulary_lib.Vocabulary,
        examples: Mapping[str, Sequence[task_lib.Example]],
        *,
        encoder_length: int,
        decoder_length: int,
        options: downstream_options.PredictionOptions,
    ):
        """Tokenises, and scores a few examples for a trial; compiles nothing yet.

        Args:
            model: whose predictions they are.
            vocabulary: of the model, whose tables may be padded to more.
            examples: labelled, by the task's name.
            encoder_length: S; longer inputs are cut.
            decoder_length: T, tokens of a prediction.
            options: how predictions are made.
        """
        self._vocabulary, self._options = vocabulary, options
        self._tasks: dict[str, task_lib.Task] = {}
        self._examples: dict[str, list[task_lib.Example]] = {}
        self._inputs: dict[str, tokenized_examples.Ragged] = {}
        self._truncated: dict[str, int] = {}
        self._runners: dict[str, decoding.Runner] = {}
        for name, found in examples.items():
            task = registry.get(name)
            chosen = downstream_examples.spread(found, options.max_examples)
            downstream_examples.try_score(task, chosen)
            texts = [example.inputs for example in chosen]
            tokens, truncated = tokenized_examples.encode(
                texts,
                vocabulary,
                encoder_length,
                parse_sentinels=task.sentinels,
            )
            self._tasks[task.name], self._examples[task.name] = task, chosen
            self._inputs[task.name], self._truncated[task.name] = tokens, truncated
        model = decoding.Restricted(model, vocabulary.size)
        for name, task in self._tasks.items():
            # One program serves all tasks that decode alike.
            key = name if self._ranks(task) else ""
            if key not in self._runners:
                self._runners[key] = decoding.Runner(
                    model,
                    self._function(model, task, decoder_length),
                    batch_size=options.batch_size,
                    max_input_length=encoder_length,
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks' names."""
        return tuple(self._tasks)

    def __call__(
        self,
        params: Any,
        say: Callable[[str], None] = lambda text: None,
        names: Sequence[str] | None = None,
    ) -> TaskScores:
        """Scores a model's parameters.

        Args:
            params: the model's.
            say: told what is going on.
            names: of the tasks to score; None for all.
        """
        results: dict[str, TaskResult] = {}
        count, seconds, compilations = 0, 0.0, 0
        for name in names or self.names:
            task = self._tasks[name]
            say(f"decoding {name}, {len(self._inputs[name])} examples")
            runner = self._runners[name if self._ranks(task) else ""]
            # Equal inputs (a query with several answers) are decoded once.
            place: dict[bytes, int] = {}
            inputs = self._inputs[name]
            rows = [place.setdefault(x.tobytes(), len(place)) for x in inputs]
            first = {row: i for i, row in reversed(list(enumerate(rows)))}
            distinct, report = runner(
                params, [inputs[first[row]] for row in range(len(place))]
            )
            decoded = distinct[rows]
            count += report.examples
            seconds += report.run_seconds
            compilations += report.compilations
            if self._ranks(task):
                predictions = [task.labels[i] for i in np.argmax(decoded, axis=1)]
            else:
                predictions = [self._vocabulary.decode(_ended(x)) for x in decoded]
            examples = self._examples[name]
            results[name] = TaskResult(
                *downstream_examples.score(task, examples, predictions),
                len(examples),
                self._truncated[name],
                predictions,
            )
        return TaskScores(results, count / seconds, compilations)

    def write_predictions(
        self, result: TaskScores, folder: str | os.PathLike[str]
    ) -> None:
        """Writes each task's inputs, targets and predictions as FOLDER/TASK.jsonl."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, task_result in result.tasks.items():
            pairs = zip(self._examples[name], task_result.predictions, strict=True)
            lines = [
                json.dumps(
                    {
                        "inputs": example.inputs,
                        "targets": example.targets,
                        "prediction": prediction,
                    },
                    ensure_ascii=False,
                )
                for example, prediction in pairs
            ]
            outputs.write_text(folder / f"{name}.jsonl", "\n".join(lines) + "\n")

    def _ranks(self, task: task_lib.Task) -> bool:
        return self._options.decoding == "rank" and bool(task.labels)

    def _function(
        self, model: decoding.Restricted, task: task_lib.Task, length: int
    ) -> decoding.runner.Function:
        options = self._options
        if self._ranks(task):
            labels = [
                self._vocabulary.encode(label, parse_sentinels=task.sentinels)
                for label in task.labels
            ]
            try:
                targets = decoding.pack_targets(labels, self._vocabulary.size)
            except ValueError as error:
                raise errors.RunError(
                    f"{task.name}: its labels {', '.join(task.labels)} cannot be "
                    f"ranked with this vocabulary: {error}"
                ) from error
            return lambda params, inputs, rows: decoding.score_targets(
                model, params, inputs, targets
            )
        if options.decoding == "beam":
            return lambda params, inputs, rows: (
                decoding.beam_search(
                    model,
                    params,
                    inputs,
                    length,
                    options.beam_size,
                    options.length_penalty,
                ).tokens
            )
        if options.decoding == "sample":
            key = jax.random.key(options.seed)
            return lambda params, inputs, rows: (
                decoding.sample(
                    model,
                    params,
                    inputs,
                    length,
                    key,
                    rows,
                    options.temperature,
                    options.top_k,
                    options.top_p,
                ).tokens
            )
        return lambda params, inputs, rows: decoding.greedy(
            model, params, inputs, length
        )


def averages(numbers: Mapping[str, float]) -> dict[str, aggregates.Average]:
    """Returns the benchmarks' averages, as far as their tasks are there.

    Args:
        numbers: by task. A benchmark of one task has that number already.
    """
    made = aggregates.summary(numbers)
    return {name: average for name, average in made.items() if name not in numbers}


def best(records: Sequence[Mapping[str, Any]]) -> run_record.Downstream | None:
    """Returns what a run's log says of each task, at its best step and at the last.

    Args:
        records: of `metrics.jsonl`, oldest first.

    Returns:
        Scores in percent; averages of the tasks' best, each by its own checkpoint, as
        T5 reports them. None where nothing was scored.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for record in records:
        for key, value in record.items():
            name = key.removeprefix(PREFIX)
            if name == key or "/" in name or name in _AVERAGES:
                continue
            entry = tasks.setdefault(name, {"best": -math.inf})
            entry["last"] = value
            if value > entry["best"]:
                error = record.get(f"{key}/standard_error")
                entry |= {
                    "best": value,
                    "best_step": record["step"],
                    "standard_error": error,
                }
    if not tasks:
        return None
    numbers = {name: entry["best"] for name, entry in tasks.items()}
    return run_record.Downstream(
        tasks={name: run_record.TaskScore(**entry) for name, entry in tasks.items()},
        averages={name: average.value for name, average in averages(numbers).items()},
    )


def _ended(tokens: np.ndarray) -> np.ndarray:
    """Returns the tokens before EOS or padding."""
    ends = np.flatnonzero((tokens == vocabulary_lib.EOS_ID) | (tokens == 0))
    return tokens[: ends[0]] if ends.size else tokens
