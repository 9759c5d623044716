"""Downstream scores of a study's runs: what `clinometer finetune` left beside them.

A fine-tuning of the run RUN lies in RUN/finetune/NAME, or with several seeds, rates or
checkpoints in folders of that one.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import io
import math
import statistics

from clinometer.tools.report import records
from clinometer.train.downstream import standard_error
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

_NEEDED = ("config.schedule.learning_rate", "config.data.mixture")


@dataclasses.dataclass(frozen=True)
class FinetuningScore:
    """One task of one fine-tuning, at its best step; scores in percent."""

    run: str  # the pretrained run's name
    model: str
    architecture: str
    finetuning: str  # its folder below RUN/finetune
    mixture: str
    task: str
    score: float
    standard_error: float | None  # of the evaluation set's sampling
    majority: float | None  # the score of always giving the commonest target
    best_step: int
    pretraining_step: int | None  # None: from scratch
    learning_rate: float
    seed: int
    validation_loss_nats: float | None  # of the pretrained run


COLUMNS = tuple(field.name for field in dataclasses.fields(FinetuningScore))


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean of scores in percent, and its standard error where it is known."""

    score: float
    standard_error: float | None


def read(runs: Iterable[records.Run]) -> list[FinetuningScore]:
    """Returns the scores of all finished fine-tunings of these runs.

    Raises:
      RecordError: a record cannot be read.
    """
    scores = []
    for run in runs:
        folder = run.directory.finetunings_path
        for directory in run_directory.find(folder):
            record = records.read_record(directory)
            if record.finished and record.kind == run_record.FINETUNING:
                record = records.read_record(directory, *_NEEDED)
                name = directory.path.relative_to(folder).as_posix()
                scores += _scores(run, name, record)
    return scores


def _scores(
    run: records.Run, name: str, record: run_record.Record
) -> list[FinetuningScore]:
    model = run.record.model
    tasks = record.data.tasks or {}
    scores = record.downstream.tasks if record.downstream else {}
    return [
        FinetuningScore(
            run=run.name,
            model=model,
            architecture=model.partition("-")[0],
            finetuning=name,
            mixture=record.config.data.mixture,
            task=task,
            score=found.best,
            standard_error=found.standard_error,
            majority=tasks[task].majority if task in tasks else None,
            best_step=found.best_step,
            pretraining_step=record.initial.step if record.initial else None,
            learning_rate=record.config.schedule.learning_rate,
            seed=record.seed,
            validation_loss_nats=run.record.metrics.validation_loss,
        )
        for task, found in scores.items()
    ]


def write_csv(scores: Sequence[FinetuningScore]) -> str:
    """The text of downstream.csv, one row a score, numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for score in scores:
        values = dataclasses.astuple(score)
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


def final(scores: Iterable[FinetuningScore]) -> list[FinetuningScore]:
    """Returns those of the last pretraining checkpoint that a run was tuned from."""
    scores = [score for score in scores if score.pretraining_step is not None]
    last: dict[str, int] = {}
    for score in scores:
        last[score.run] = max(last.get(score.run, 0), score.pretraining_step)
    return [score for score in scores if score.pretraining_step == last[score.run]]


def mean(scores: Sequence[FinetuningScore]) -> Mean:
    """The mean of scores of one task and one run, over seeds and rates."""
    values = [score.score for score in scores]
    error = standard_error.of_mean(values, [score.standard_error for score in scores])
    return Mean(statistics.fmean(values), error.total)


def by_task(scores: Iterable[FinetuningScore], run: str) -> dict[str, Mean]:
    """The scores of a run's last checkpoint, by task; empty where it was not tuned."""
    groups: dict[str, list[FinetuningScore]] = {}
    for score in final(scores):
        if score.run == run:
            groups.setdefault(score.task, []).append(score)
    return {task: mean(group) for task, group in sorted(groups.items())}


def over_tasks(tasks: Mapping[str, Mean]) -> Mean | None:
    """The unweighted mean of tasks, whose errors are independent; None of none."""
    if not tasks:
        return None
    errors = [task.standard_error for task in tasks.values()]
    error = None
    if all(value is not None for value in errors):
        error = math.hypot(*errors) / len(errors)
    return Mean(statistics.fmean(task.score for task in tasks.values()), error)
