"""Reads the downstream scores of runs, as written by `clinometer finetune`.

The fine-tunings of a run RUN are in RUN/finetune/NAME. Several seeds, learning rates or
checkpoints are in subfolders of it.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import hashlib
import io
import json
import math
import statistics
from typing import Any

from clinometer.data.mixtures import aggregates
from clinometer.tools.report import records
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import crossed
from clinometer.train.downstream import item_scores
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

# Parts of a configuration, and their fields, that make no other fine-tuning of a run:
# seeds, paths, the checkpoint to start from, what is saved and logged when, and how the
# run is divided over devices and into microbatches.
_NOT_SETTINGS = {
    *("seed", "initial", "checkpoint", "log", "profile", "study", "data", "eval"),
    *("mesh", "microbatch", "num_microbatches", "device_memory_bytes"),
}
_NOT_SETTINGS_OF = {
    "data": {"store", "folder", "order", "seed"},
    "eval": {"batch_size"},
}
# Fields of `data` that depend on whether an architecture can be trained on packed rows.
_OF_ARCHITECTURE = {"packing", "batch_size"}
_NEEDED = ("config.schedule.learning_rate", "config.data.mixture")


@dataclasses.dataclass(frozen=True)
class FinetuningScore:
    """A score of one task in one fine-tuning, at the task's best step.

    Attributes:
        run: name of the pretrained run.
        model: name of the model.
        architecture: name of the architecture.
        finetuning: path of the fine-tuning below RUN/finetune.
        mixture: mixture that it was trained on.
        task: name of the task.
        metric: `score`, by which the best step is chosen, or `likelihood`, that of the
            right answer.
        score: in percent.
        standard_error: in percent, from the sampling of the evaluation set.
        low: low end of the 95 % interval of the same error.
        high: high end of this interval.
        majority: majority-class baseline, in percent; None for a likelihood.
        best_step: fine-tuning step with the best score.
        pretraining_step: step of the checkpoint it started from; None if from scratch.
        learning_rate: of the fine-tuning.
        seed: of the fine-tuning.
        settings: digest of all settings of the fine-tuning but its seeds.
        protocol: likewise, without those that depend on the architecture.
        validation_loss_nats: of the pretrained run, in nats per token.
        items: the items of the score, not in downstream.csv; None if unknown.
    """

    run: str
    model: str
    architecture: str
    finetuning: str
    mixture: str
    task: str
    metric: str
    score: float
    standard_error: float | None
    low: float | None
    high: float | None
    majority: float | None
    best_step: int
    pretraining_step: int | None
    learning_rate: float
    seed: int
    settings: str
    protocol: str
    validation_loss_nats: float | None
    items: item_scores.ItemScores | None = dataclasses.field(compare=False, repr=False)

    @property
    def name(self) -> best_scores.Name:
        """The task and the metric."""
        return best_scores.Name(self.task, self.metric)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the evaluation's sampling; None if unknown."""
        return None if None in (self.low, self.high) else (self.low, self.high)


COLUMNS = tuple(
    field.name for field in dataclasses.fields(FinetuningScore) if field.name != "items"
)


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean of scores, in percent.

    Attributes:
        score: the mean.
        interval: its 95 % interval; None if unknown.
    """

    score: float
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class RunAverage:
    """The average score of a run over the tasks of a benchmark, in percent.

    Attributes:
        name: name of the average.
        score: the average.
        sampling_error: standard error from the sampling of the evaluation sets, for
            this trained model; None if unknown.
        tasks: all tasks that the run was scored on.
    """

    name: str
    score: float
    sampling_error: float | None
    tasks: tuple[str, ...]


def read(runs: Iterable[records.Run]) -> list[FinetuningScore]:
    """Returns the scores of all finished fine-tunings of these runs.

    Raises:
        RecordError: a run record, or the items of a score, cannot be read.
    """
    scores = []
    for run in runs:
        folder = run.directory.finetunings_path
        for directory in run_directory.find(folder):
            record = records.read_record(directory)
            if record.finished and record.kind == run_record.FINETUNING:
                record = records.read_record(directory, *_NEEDED)
                name = directory.path.relative_to(folder).as_posix()
                scores += _scores(run, name, record, directory)
    return scores


def _scores(
    run: records.Run,
    name: str,
    record: run_record.Record,
    directory: run_directory.RunDirectory,
) -> list[FinetuningScore]:
    model = run.record.model
    tasks = record.data.tasks or {}
    settings, protocol = _settings(record)
    scores = records.checked(lambda: best_scores.read(directory, record))
    return [
        FinetuningScore(
            run=run.name,
            model=model,
            architecture=model.partition("-")[0],
            finetuning=name,
            mixture=record.config.data.mixture,
            task=task,
            metric=metric,
            score=found.value,
            standard_error=found.standard_error,
            low=found.interval and found.interval[0],
            high=found.interval and found.interval[1],
            majority=tasks[task].majority
            if task in tasks and metric == best_scores.SCORE
            else None,
            best_step=found.step,
            pretraining_step=record.initial.step if record.initial else None,
            learning_rate=record.config.schedule.learning_rate,
            seed=record.seed,
            settings=settings,
            protocol=protocol,
            validation_loss_nats=run.record.metrics.validation_loss,
            items=found.items,
        )
        for (task, metric), found in scores.items()
    ]


def _settings(record: run_record.Record) -> tuple[str, str]:
    """Returns the digests of the settings, all and those of no architecture."""
    config = record.config.to_json()
    kept: dict[str, Any] = {
        key: value for key, value in config.items() if key not in _NOT_SETTINGS
    }
    for part, names in _NOT_SETTINGS_OF.items():
        kept[part] = {
            key: value
            for key, value in config.get(part, {}).items()
            if key not in names
        }
    kept["rates"] = {
        name: task.rate for name, task in (record.data.tasks or {}).items()
    }
    protocol = {key: value for key, value in kept.items() if key != "model"}
    protocol["data"] = {
        key: value for key, value in kept["data"].items() if key not in _OF_ARCHITECTURE
    }
    return _digest(kept), _digest(protocol)


def _digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_csv(scores: Sequence[FinetuningScore]) -> str:
    """Returns the text of downstream.csv, with numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for score in scores:
        values = [getattr(score, column) for column in COLUMNS]
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


def final(scores: Iterable[FinetuningScore]) -> list[FinetuningScore]:
    """Returns the scores from each run's last fine-tuned pretraining checkpoint."""
    scores = [score for score in scores if score.pretraining_step is not None]
    last: dict[str, int] = {}
    for score in scores:
        last[score.run] = max(last.get(score.run, 0), score.pretraining_step)
    return [score for score in scores if score.pretraining_step == last[score.run]]


def groups(scores: Iterable[FinetuningScore]) -> list[list[FinetuningScore]]:
    """Returns the scores of each name, run, checkpoint and setting, over seeds.

    Fine-tunings with other mixtures, rates or settings are not seeds of each other.
    """
    found: dict[tuple[Any, ...], list[FinetuningScore]] = {}
    for score in scores:
        key = (score.run, score.pretraining_step, score.settings, score.name)
        found.setdefault(key, []).append(score)
    return list(found.values())


def mean(group: Sequence[FinetuningScore]) -> Mean:
    """Returns the mean of one of `groups`.

    Its interval is that of the evaluation's sampling for one fine-tuning, and over
    other seeds of the fine-tuning, too, for several.
    """
    if len(group) == 1:
        return Mean(group[0].score, group[0].interval)
    found = crossed.mean(cell(group))
    return Mean(found.value, found.interval)


def cell(group: Sequence[FinetuningScore]) -> crossed.Cell:
    """Returns the scores of one name for resampling, one seed per score."""
    return item_scores.cell(
        group[0].task,
        [score.score for score in group],
        [score.items for score in group],
    )


def shared_averages(scores: Iterable[FinetuningScore]) -> list[str]:
    """Returns the names of the averages that all fine-tuned runs have.

    They are the averages of the benchmarks, for which a run needs all of a benchmark's
    tasks in one of its fine-tunings, and the task of a fine-tuning on a single one.

    Args:
        scores: of the runs that are compared, from `final`.
    """
    tasks: dict[str, dict[str, set[str]]] = {}
    for score in scores:
        of_run = tasks.setdefault(score.run, {})
        of_run.setdefault(score.settings, set()).add(score.task)
    found = [
        dict.fromkeys(name for one in of_run.values() for name in _averages(one))
        for of_run in tasks.values()
    ]
    names = (aggregates.OVERALL_NAME, *aggregates.AVERAGES)
    order = [*names, *dict.fromkeys(name for one in found for name in one)]
    return [
        name
        for name in dict.fromkeys(order)
        if found and all(name in one for one in found)
    ]


def _averages(tasks: Collection[str]) -> list[str]:
    """Returns the averages that a fine-tuning on these tasks has."""
    if len(tasks) == 1:
        return list(tasks)
    names = (aggregates.OVERALL_NAME, *aggregates.AVERAGES)
    return [
        name
        for name in names
        if len(weights := aggregates.weights(name)) > 1 and set(weights) <= set(tasks)
    ]


def weights(name: str) -> dict[str, float]:
    """Returns task -> weight of one of `shared_averages`."""
    if name in aggregates.AVERAGES or name == aggregates.OVERALL_NAME:
        return aggregates.weights(name)
    return {name: 1.0}


def of_run(scores: Iterable[FinetuningScore], run: str, name: str) -> RunAverage | None:
    """Returns an average of a run; None if it has none, or with several settings.

    Args:
        scores: from `final`.
        run: name of the pretrained run.
        name: one of `shared_averages`.
    """
    own = [
        score
        for score in scores
        if score.run == run and score.metric == best_scores.SCORE
    ]
    tasks: dict[str, set[str]] = {}
    for score in own:
        tasks.setdefault(score.settings, set()).add(score.task)
    having = [one for one, found in tasks.items() if name in _averages(found)]
    if len(having) != 1:
        return None
    own = [score for score in own if score.settings == having[0]]
    value, variance = 0.0, 0.0
    of_task = {group[0].task: group for group in groups(own)}
    for task, weight in weights(name).items():
        value += weight * statistics.fmean(score.score for score in of_task[task])
        errors = [score.standard_error for score in of_task[task]]
        # Seeds share the items, so that their mean has the error of one of them.
        known = None not in errors
        variance += (weight * statistics.fmean(errors)) ** 2 if known else math.nan
    error = None if math.isnan(variance) else math.sqrt(variance)
    return RunAverage(name, value, error, tuple(sorted(of_task)))
