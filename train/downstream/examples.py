"""Loads, samples and scores the examples of downstream tasks."""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import math
import numbers
import os
from typing import Any

from clinometer.data import errors as data_errors
from clinometer.data.mixtures import aggregates
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.data.tasks import task as task_lib
from clinometer.kernels.options import ranges
from clinometer.train import errors

SPLIT = "validation"
# Number of examples in a trial scoring, and maximum characters of their predictions.
_TRIED, _TRIED_LENGTH = 64, 256
# Smallest fraction of the training examples that have the most common target, if there
# is to be a majority-class baseline.
_COMMON = 1e-3


def labelled(
    names: Sequence[str], folder: str | os.PathLike[str] | None, split: str = SPLIT
) -> dict[str, list[task_lib.Example]]:
    """Loads the examples of tasks that have an answer.

    Args:
        names: names of tasks, or paths of files that declare one.
        folder: folder with the files of the task releases; may be None for probes.
        split: name of the split.

    Returns:
        The examples, keyed by `names`.

    Raises:
        RunError: files are missing or wrong, no example has an answer, or two tasks
            have the same name.
    """
    found = {}
    for name, task in _different(names).items():
        try:
            here = folder
            if task.benchmark == probes.BENCHMARK:
                here = probes.ensure_folder()
            if here is None:
                raise errors.ConfigError(
                    f"{name}: the folder of its files is missing; give it with --data "
                    "DIR or config.data.folder"
                )
            examples = load.load(task, here, split)
        except data_errors.DataError as error:
            raise errors.RunError(f"{name}: {error}") from error
        examples = [example for example in examples if example.answer is not None]
        if not examples:
            raise errors.RunError(f"{name}: no example of split {split} has an answer")
        found[name] = examples
    return found


def _different(names: Sequence[str]) -> dict[str, task_lib.Task]:
    """Returns the tasks by the given names; raises RunError if two have one name."""
    tasks: dict[str, task_lib.Task] = {}
    given: dict[str, str] = {}
    for name in names:
        try:
            tasks[name] = registry.get(name)
        except data_errors.DataError as error:
            raise errors.RunError(f"{name}: {error}") from error
        other = given.setdefault(tasks[name].name.casefold(), name)
        if other != name:
            raise errors.ConfigError(
                f"{other} and {name} both declare a task named {tasks[name].name!r} "
                "(ignoring case); each task needs a name of its own, by which its "
                "scores are stored"
            )
    return tasks


def spread(
    examples: Sequence[task_lib.Example], most: int | None
) -> list[task_lib.Example]:
    """Returns a subset of the examples, spaced evenly, without splitting groups.

    Args:
        examples: the examples; those with the same `group` belong together.
        most: number of examples to return, approximately if there are groups; None for
            all.
    """
    if most is None or most >= len(examples):
        return list(examples)
    groups: dict[Any, list[task_lib.Example]] = {}
    for place, example in enumerate(examples):
        key = (place,) if example.group is None else example.group
        groups.setdefault(key, []).append(example)
    whole = list(groups.values())
    count = max(1, most * len(whole) // len(examples))
    return [x for k in range(count) for x in whole[k * len(whole) // count]]


def majority(
    task: task_lib.Task,
    train: Sequence[task_lib.Example],
    examples: Sequence[task_lib.Example],
) -> float | None:
    """Computes the majority-class baseline of a task.

    Every prediction is the most common target of the training examples.

    Args:
        task: the task.
        train: its training examples.
        examples: the examples to score.

    Returns:
        The score in percent; None if targets hardly repeat, as in summarisation.
    """
    counts = collections.Counter(example.targets for example in train)
    target, count = counts.most_common(1)[0]
    if count < max(2, _COMMON * len(train)):
        return None
    return float(score(task, examples, [target] * len(examples))[1])


def score(
    task: task_lib.Task,
    examples: Sequence[task_lib.Example],
    predictions: Sequence[str],
) -> tuple[Mapping[str, float], float]:
    """Scores predictions.

    Exceptions from the code of the task are passed on with a note that names the task.

    Args:
        task: the task.
        examples: the examples.
        predictions: decoded text for each example.

    Returns:
        The metrics by name and the task's score, all in percent.

    Raises:
        RunError: the metrics are not those that the task declares, or not numbers.
    """
    try:
        metrics = task.score(examples, predictions)
    except data_errors.DataError as error:
        raise errors.RunError(f"{task.name}: {error}") from error
    except Exception as error:
        error.add_note(f"Task {task.name!r} was scoring {len(examples)} predictions.")
        raise
    if not isinstance(metrics, Mapping) or not all(
        isinstance(value, numbers.Real) for value in metrics.values()
    ):
        raise errors.RunError(
            f"{task.name}: its score is {ranges.shown(metrics)}; accepted: a mapping "
            "from metrics to numbers in percent"
        )
    try:
        return metrics, aggregates.task_number(metrics, task.averaged)
    except data_errors.DataError as error:
        raise errors.RunError(f"{task.name}: {error}") from error


def try_score(task: task_lib.Task, examples: Sequence[task_lib.Example]) -> None:
    """Scores the targets of a few examples, to find errors in a task before training.

    Args:
        task: the task.
        examples: the examples.

    Raises:
        RunError: see `score`; or the score is not finite.
    """
    some = spread(examples, _TRIED)
    said = [example.targets[:_TRIED_LENGTH] for example in some]
    metrics, number = score(task, some, said)
    if not math.isfinite(number):
        raise errors.RunError(
            f"{task.name}: scoring its targets as predictions gives {dict(metrics)}; "
            "accepted: finite numbers, with 0 for an undefined metric"
        )
