"""From the metrics of tasks to one number of a task, of a benchmark, of a run.

First the metrics of one task are averaged, then the tasks of a benchmark, each with the
same weight; the "Avg" of Tay et al. 2021 is the mean of GLUE, SuperGLUE and SQuAD
(FORMATS.md#averages).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import NamedTuple

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores

# The tasks of each average. WNLI and DPR are in none.
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
# What the "Avg" of Tay et al. 2021 is the mean of.
OVERALL = ("glue", "superglue", "squad")
OVERALL_NAME = "avg"


class Average(NamedTuple):
    """A mean of tasks' numbers, in percent.

    Attributes:
      value: the mean.
      standard_error: of the evaluation sets' sampling, taking the tasks for
        independent; NaN where a number has none.
    """

    value: float
    standard_error: float


def task_number(metrics: Mapping[str, float], averaged: Sequence[str]) -> float:
    """The one number of a task: the mean of its `averaged` metrics.

    A `scores.Score` if the metrics are.

    Raises:
      DataError: one of them is missing.
    """
    missing = [name for name in averaged if name not in metrics]
    if missing or not averaged:
        raise DataError(
            f"A task's number is the mean of {', '.join(averaged) or 'no metric'}, but "
            f"{', '.join(missing) or 'nothing'} is missing; "
            f"there are {', '.join(metrics) or 'none'}."
        )
    return scores.average([metrics[name] for name in averaged])


def average(numbers: Mapping[str, float], tasks: Sequence[str]) -> Average | None:
    """The unweighted mean of tasks' numbers.

    Args:
      numbers: by task, each plain or a `scores.Score`; more than `tasks` may be there.
      tasks: which to average.

    Returns:
      None where a task is missing: the mean of the others is another quantity.
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
    """Every average that can be computed: those of `AVERAGES`, and `avg`."""
    made = {name: average(numbers, tasks) for name, tasks in AVERAGES.items()}
    if all(made[name] for name in OVERALL):
        made[OVERALL_NAME] = _mean([made[name] for name in OVERALL])
    return {name: value for name, value in made.items() if value is not None}


def _mean(averages: Sequence[Average]) -> Average:
    count = len(averages)
    error = math.sqrt(sum(part.standard_error**2 for part in averages)) / count
    return Average(sum(part.value for part in averages) / count, error)
