"""Averages the metrics of a task, and the tasks of a benchmark.

The metrics of each task are averaged first, then the tasks of a benchmark with equal
weights. The "Avg" of Tay et al. 2021 is the mean of GLUE, SuperGLUE and SQuAD
(FORMATS.md#averages).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import NamedTuple

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores

# The tasks of each average, none of which includes WNLI or DPR.
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
SUPERGLUE = (
    "boolq",
    "cb",
    "copa",
    "multirc",
    "record",
    "superglue_rte",
    "wic",
    "wsc",
)
SQUAD = ("squad",)
SUMMARIZATION = ("xsum", "cnn_dailymail", "multi_news")
CLASSIFICATION = ("civil_comments", "wiki_toxicity", "imdb")
RAINBOW = ("anli", "cosmosqa", "hellaswag", "physicaliqa", "socialiqa", "winogrande")
PROBES = ("acceptability", "same_document", "cloze")
TWELVE = SUMMARIZATION + CLASSIFICATION + RAINBOW
AVERAGES: dict[str, tuple[str, ...]] = {
    "glue": GLUE,
    "superglue": SUPERGLUE,
    "squad": SQUAD,
    "rainbow": RAINBOW,
    "twelve": TWELVE,
    "probes": PROBES,
}
# The averages that make up the "Avg" of Tay et al. 2021.
OVERALL = ("glue", "superglue", "squad")
OVERALL_NAME = "avg"


class Average(NamedTuple):
    """A mean over tasks, in percent.

    Attributes:
        value: the mean.
        standard_error: standard error due to the sampling of the evaluation sets,
            assuming independent tasks; NaN if that of any task is unknown.
    """

    value: float
    standard_error: float


def task_number(metrics: Mapping[str, float], averaged: Sequence[str]) -> float:
    """Returns the number of a task, the mean of its `averaged` metrics.

    Args:
        metrics: name -> value of each metric, in percent.
        averaged: names of the metrics to average.

    Returns:
        The mean, a `scores.Score` if the metrics are.

    Raises:
        DataError: a metric is missing, or `averaged` is empty.
    """
    missing = [name for name in averaged if name not in metrics]
    if missing or not averaged:
        raise DataError(
            f"A task's number is the mean of {', '.join(averaged) or 'no metric'}, but "
            f"{', '.join(missing) or 'nothing'} is missing; the metrics are "
            f"{', '.join(metrics) or 'none'}."
        )
    return scores.average([metrics[name] for name in averaged])


def weights(name: str) -> dict[str, float]:
    """Returns task -> its weight in an average.

    Args:
        name: one of `AVERAGES`, or `OVERALL_NAME`.
    """
    if name != OVERALL_NAME:
        return dict.fromkeys(AVERAGES[name], 1 / len(AVERAGES[name]))
    return {
        task: weight / len(OVERALL)
        for part in OVERALL
        for task, weight in weights(part).items()
    }


def average(numbers: Mapping[str, float], tasks: Sequence[str]) -> Average | None:
    """Returns the unweighted mean over tasks.

    Args:
        numbers: task -> its number, a plain float or a `scores.Score`; may include
            other tasks.
        tasks: names of the tasks to average.

    Returns:
        The mean, or None if a task is missing, as the mean of the others is not
        comparable.
    """
    if not all(task in numbers for task in tasks):
        return None
    return _mean(
        [
            Average(float(numbers[task]), scores.standard_error(numbers[task]))
            for task in tasks
        ]
    )


def summary(numbers: Mapping[str, float]) -> dict[str, Average]:
    """Returns all averages that can be computed: those of `AVERAGES`, and `avg`.

    Args:
        numbers: task -> its number, a plain float or a `scores.Score`.
    """
    made = {name: average(numbers, tasks) for name, tasks in AVERAGES.items()}
    if all(made[name] for name in OVERALL):
        made[OVERALL_NAME] = _mean([made[name] for name in OVERALL])
    return {name: value for name, value in made.items() if value is not None}


def _mean(averages: Sequence[Average]) -> Average:
    count = len(averages)
    error = math.sqrt(sum(part.standard_error**2 for part in averages)) / count
    return Average(sum(part.value for part in averages) / count, error)
