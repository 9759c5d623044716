"""The scores of a fine-tuning at each task's best step, with their items.

A score is identified by its task and its metric: `SCORE`, by which the best step is
chosen, or the likelihood of the right answer at the same step, if it was scored.
"""

import dataclasses
from typing import NamedTuple

from clinometer.data.tasks import scores
from clinometer.train.downstream import item_scores
from clinometer.train.downstream import likelihood
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

SCORE = "score"
METRICS = (SCORE, likelihood.METRIC)


class Name(NamedTuple):
    """What identifies a score.

    Attributes:
        task: name of the task, or of an average of tasks.
        metric: one of `METRICS`.
    """

    task: str
    metric: str = SCORE

    def __str__(self) -> str:
        return self.task if self.metric == SCORE else f"{self.task}, {self.metric}"


@dataclasses.dataclass(frozen=True, eq=False)
class BestScore:
    """A score at the best step of its task.

    Attributes:
        value: in percent.
        step: the best step.
        standard_error: in percent, from the sampling of the evaluation set; None if
            unknown.
        interval: 95 % interval of the same error; None if unknown.
        items: the items of the score, whose `number` it is; None if unknown.
    """

    value: float
    step: int
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    items: item_scores.ItemScores | None = None


def read(
    directory: run_directory.RunDirectory, record: run_record.Record
) -> dict[Name, BestScore]:
    """Reads the scores of a fine-tuning; tasks without a finite one have none.

    Args:
        directory: its run directory.
        record: its record.

    Raises:
        RunError: the items cannot be read.
    """
    made = {}
    for task, found in (record.downstream.tasks if record.downstream else {}).items():
        step = found.best_step
        items = item_scores.of_run(directory, task, step, found.best)
        made[Name(task)] = BestScore(
            found.best, step, found.standard_error, found.interval, items
        )
        if found.likelihood is not None:
            made[Name(task, likelihood.METRIC)] = _likelihood(
                found.likelihood, step, items
            )
    return made


def _likelihood(
    value: float, step: int, items: item_scores.ItemScores | None
) -> BestScore:
    """Returns a recorded likelihood with its error, which only its items hold."""
    number = items.metrics.get(likelihood.METRIC) if items else None
    if number is None or abs(number - value) > item_scores.TOLERANCE:
        return BestScore(value, step)
    error = scores.describe_error(number)
    low, high = error["low"], error["high"]
    return BestScore(
        value,
        step,
        error["standard_error"],
        None if None in (low, high) else (low, high),
        dataclasses.replace(items, number=number),
    )
