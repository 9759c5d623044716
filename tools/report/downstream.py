"""Reads the downstream scores of runs, as written by `clinometer finetune`.

The fine-tunings of a run RUN are in RUN/finetune/NAME. Several seeds, learning rates or
checkpoints are in subfolders of it.
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
    """The score of one task in one fine-tuning, at its best step.

    Attributes:
        run: name of the pretrained run.
        model: name of the model.
        architecture: name of the architecture.
        finetuning: path of the fine-tuning below RUN/finetune.
        mixture: mixture that it was trained on.
        task: name of the task.
        score: in percent.
        standard_error: in percent, from the sampling of the evaluation set.
        majority: majority-class baseline, in percent.
        best_step: fine-tuning step with the best score.
        pretraining_step: step of the checkpoint it started from; None if from scratch.
        learning_rate: of the fine-tuning.
        seed: of the fine-tuning.
        validation_loss_nats: of the pretrained run, in nats per token.
    """

    run: str
    model: str
    architecture: str
    finetuning: str
    mixture: str
    task: str
    score: float
    standard_error: float | None
    majority: float | None
    best_step: int
    pretraining_step: int | None
    learning_rate: float
    seed: int
    validation_loss_nats: float | None


COLUMNS = tuple(field.name for field in dataclasses.fields(FinetuningScore))


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean of scores.

    Attributes:
        score: in percent.
        standard_error: in percent; None if unknown.
    """

    score: float
    standard_error: float | None


def read(runs: Iterable[records.Run]) -> list[FinetuningScore]:
    """Returns the scores of all finished fine-tunings of these runs.

    Raises:
        RecordError: a run record cannot be read.
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
    """Returns the text of downstream.csv, with numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for score in scores:
        values = dataclasses.astuple(score)
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


def final(scores: Iterable[FinetuningScore]) -> list[FinetuningScore]:
    """Returns the scores from each run's last fine-tuned pretraining checkpoint."""
    scores = [score for score in scores if score.pretraining_step is not None]
    last: dict[str, int] = {}
    for score in scores:
        last[score.run] = max(last.get(score.run, 0), score.pretraining_step)
    return [score for score in scores if score.pretraining_step == last[score.run]]


def mean(scores: Sequence[FinetuningScore]) -> Mean:
    """Returns the mean score of one task and run, over seeds and learning rates."""
    values = [score.score for score in scores]
    error = standard_error.of_mean(values, [score.standard_error for score in scores])
    return Mean(statistics.fmean(values), error.total)


def by_task(scores: Iterable[FinetuningScore], run: str) -> dict[str, Mean]:
    """Returns task -> mean score of a run's last checkpoint; empty if there is none."""
    groups: dict[str, list[FinetuningScore]] = {}
    for score in final(scores):
        if score.run == run:
            groups.setdefault(score.task, []).append(score)
    return {task: mean(group) for task, group in sorted(groups.items())}


def over_tasks(tasks: Mapping[str, Mean]) -> Mean | None:
    """Returns the unweighted mean over tasks; None if there are none.

    The standard error assumes that the errors of the tasks are independent.
    """
    if not tasks:
        return None
    errors = [task.standard_error for task in tasks.values()]
    error = None
    if all(value is not None for value in errors):
        error = math.hypot(*errors) / len(errors)
    return Mean(statistics.fmean(task.score for task in tasks.values()), error)
