"""Scores a model on downstream tasks by decoding, with sampling errors."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import math
from typing import Any

import numpy as np

from clinometer import models
from clinometer.data import paths
from clinometer.data.mixtures import aggregates
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.data.tasks import registry
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.models import decoding
from clinometer.train import errors
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import item_scores
from clinometer.train.downstream import likelihood
from clinometer.train.downstream import options as downstream_options
from clinometer.train.downstream import prediction
from clinometer.train.run import record as run_record

PREFIX = "downstream/"
# Names in a log that are averages. SQuAD has a single task, so its name is a task's.
_AVERAGES = {*aggregates.AVERAGES, aggregates.OVERALL_NAME} - {*aggregates.SQUAD}


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """Result for one task.

    Attributes:
        metrics: metrics by name, in percent; each is a `scores.Score`.
        number: the task's score in percent, the mean of its averaged metrics.
        examples: number of scored examples.
        truncated: number of examples whose input was truncated.
        predictions: the decoded texts.
    """

    metrics: Mapping[str, float]
    number: float
    examples: int
    truncated: int
    predictions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """Results for all tasks.

    Attributes:
        tasks: results by task.
        sequences_per_second: decoding speed, without compilation.
        compilations: number of compiled programs.
    """

    tasks: Mapping[str, TaskResult]
    sequences_per_second: float
    compilations: int

    def flat(self) -> dict[str, float]:
        """Returns the finite metrics by their names in the log, in percent."""
        found: dict[str, float] = {}
        numbers = {name: result.number for name, result in self.tasks.items()}
        for name, result in self.tasks.items():
            found[PREFIX + name] = float(result.number)
            error = scores.standard_error(result.number)
            found[f"{PREFIX}{name}/standard_error"] = error
            low, high = scores.interval(result.number)
            found |= {f"{PREFIX}{name}/low": low, f"{PREFIX}{name}/high": high}
            for metric, value in result.metrics.items():
                found[f"{PREFIX}{name}/{metric}"] = float(value)
        for name, average in averages(numbers).items():
            found[PREFIX + name] = average.value
            found[f"{PREFIX}{name}/standard_error"] = average.standard_error
        found["wall/decoded_sequences_per_second"] = self.sequences_per_second
        return {k: v for k, v in found.items() if math.isfinite(v)}


class Scorer:
    """Decodes the examples of tasks and scores the predictions."""

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
        """Tokenises the inputs and checks the scoring of the tasks; compiles nothing.

        Args:
            model: the model to decode with.
            vocabulary: the vocabulary, which may be smaller than the model's tables.
            examples: examples with an answer, by task.
            encoder_length: S; longer inputs are truncated.
            decoder_length: T, maximum length of a prediction.
            options: options for making predictions.

        Raises:
            RunError: a task cannot be scored or ranked.
        """
        self._vocabulary, self._options = vocabulary, options
        self._tasks: dict[str, task_lib.Task] = {}
        self._examples: dict[str, list[task_lib.Example]] = {}
        self._inputs: dict[str, tokenized_examples.Ragged] = {}
        self._truncated: dict[str, int] = {}
        self._answers: dict[str, tuple[str, ...]] = {}
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
            possible = likelihood.answers(task, found)
            if self._ranks(task) or (options.likelihood and len(possible) > 1):
                self._answers[task.name] = possible
        model = decoding.Restricted(model, vocabulary.size)

        def runner(function: decoding.runner.Function) -> decoding.Runner:
            return decoding.Runner(
                model,
                function,
                batch_size=options.batch_size,
                max_input_length=encoder_length,
            )

        self._decoder = runner(prediction.function(model, decoder_length, options))
        self._rankers = {
            name: runner(self._ranking(model, self._tasks[name], possible))
            for name, possible in self._answers.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self._tasks)

    def __call__(
        self,
        params: Any,
        say: Callable[[str], None] = lambda text: None,
        names: Sequence[str] | None = None,
    ) -> TaskScores:
        """Decodes and scores the tasks.

        Args:
            params: the parameters of the model.
            say: called with progress messages.
            names: names of the tasks to score; None for all.
        """
        results: dict[str, TaskResult] = {}
        count, seconds, compilations = 0, 0.0, 0
        for name in names or self.names:
            task = self._tasks[name]
            say(f"decoding {name} ({len(self._inputs[name])} examples)")
            # Identical inputs (a query with several answers) are decoded only once.
            place: dict[bytes, int] = {}
            inputs = self._inputs[name]
            rows = [place.setdefault(x.tobytes(), len(place)) for x in inputs]
            first = {row: i for i, row in reversed(list(enumerate(rows)))}
            distinct = [inputs[first[row]] for row in range(len(place))]
            examples, possible = self._examples[name], self._answers.get(name, ())
            likelihoods = None
            if possible:
                likelihoods, report = self._rankers[name](params, distinct)
                compilations += report.compilations
            if self._ranks(task):
                best_answers = np.argmax(likelihoods, axis=1)[rows]
                predictions = [possible[i] for i in best_answers]
            else:
                decoded, report = self._decoder(params, distinct)
                compilations += report.compilations
                predictions = [
                    self._vocabulary.decode(prediction.ended(tokens))
                    for tokens in decoded.tokens[rows]
                ]
            count += report.examples
            seconds += report.run_seconds
            metrics, number = downstream_examples.score(task, examples, predictions)
            if self._options.likelihood and possible:
                right = [possible.index(example.targets) for example in examples]
                made = likelihood.score(likelihoods[rows], right)
                metrics = {**metrics, likelihood.METRIC: made}
            results[name] = TaskResult(
                metrics, number, len(examples), self._truncated[name], predictions
            )
        return TaskScores(results, count / seconds, compilations)

    def write_predictions(self, result: TaskScores, folder: paths.PathLike) -> None:
        """Writes the inputs, targets and predictions to FOLDER/TASK.jsonl.

        The scores of the items go to FOLDER/TASK.npz.

        Args:
            result: result of a call.
            folder: the folder; created if missing.
        """
        folder = paths.parse(folder)
        paths.make_folder(folder)
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
            paths.write_text(folder / f"{name}.jsonl", "\n".join(lines) + "\n")
            item_scores.write(
                folder / f"{name}.npz",
                self._examples[name],
                task_result.metrics,
                self._tasks[name].averaged,
            )

    def _ranks(self, task: task_lib.Task) -> bool:
        return self._options.decoding == "rank" and bool(task.labels)

    def _ranking(
        self,
        model: decoding.Restricted,
        task: task_lib.Task,
        possible: Sequence[str],
    ) -> decoding.runner.Function:
        tokens = [
            self._vocabulary.encode(answer, parse_sentinels=task.sentinels)
            for answer in possible
        ]
        try:
            targets = decoding.pack_targets(tokens, self._vocabulary.size)
        except ValueError as error:
            raise errors.RunError(
                f"{task.name}: the answers {', '.join(possible)} cannot be ranked "
                f"with this vocabulary: {error}"
            ) from error
        return lambda params, inputs, rows: decoding.score_targets(
            model, params, inputs, targets
        )


def averages(numbers: Mapping[str, float]) -> dict[str, aggregates.Average]:
    """Returns the averages of the benchmarks whose tasks have been scored.

    Args:
        numbers: scores by task. A benchmark with a single task has no average.
    """
    made = aggregates.summary(numbers)
    return {name: average for name, average in made.items() if name not in numbers}


def best(records: Sequence[Mapping[str, Any]]) -> run_record.Downstream | None:
    """Extracts the best and last scores of each task from a log.

    Args:
        records: the records of `metrics.jsonl`, oldest first.

    Returns:
        Scores in percent, and averages of the best scores, each task at its own best
        step, as reported by T5. None if nothing was scored.
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
                entry |= {
                    "best": value,
                    "best_step": record["step"],
                    "standard_error": record.get(f"{key}/standard_error"),
                    "low": record.get(f"{key}/low"),
                    "high": record.get(f"{key}/high"),
                    "likelihood": record.get(f"{key}/{likelihood.METRIC}"),
                }
    if not tasks:
        return None
    numbers = {name: entry["best"] for name, entry in tasks.items()}
    return run_record.Downstream(
        tasks={name: run_record.TaskScore(**entry) for name, entry in tasks.items()},
        averages={name: average.value for name, average in averages(numbers).items()},
    )
