"""The examples of downstream tasks: which are read, and which are scored."""

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
# Examples that are scored for a trial, and characters of what they predict.
_TRIED, _TRIED_LENGTH = 64, 256
_COMMON = 1e-3  # part of the training examples that a majority's target has at least


def labelled(
    names: Sequence[str], folder: str | os.PathLike[str] | None, split: str = SPLIT
) -> dict[str, list[task_lib.Example]]:
    """Reads the tasks' examples that have an answer.

    Args:
        names: of tasks, or files that declare one.
        folder: with the releases' files; the embedded corpus's probes need none.
        split: of the tasks.

    Returns:
        The examples by the names as they were given.

    Raises:
        RunError: files are missing or wrong, no example has an answer, or two tasks
            have one name.
    """
    found = {}
    for name, task in _different(names).items():
        try:
            here = folder
            if task.benchmark == probes.BENCHMARK:
                here = probes.ensure_folder()
            if here is None:
                raise errors.RunError(
                    f"{name}: no folder of data given; say where its files lie "
                    "(--data DIR, config.data.folder)"
                )
            examples = load.load(task, here, split)
        except data_errors.DataError as error:
            raise errors.RunError(f"{name}: {error}") from error
        examples = [example for example in examples if example.answer is not None]
        if not examples:
            raise errors.RunError(f"{name}: the {split} split has no answers to score")
        found[name] = examples
    return found


def _different(names: Sequence[str]) -> dict[str, task_lib.Task]:
    """Returns the tasks by the names as they were given; none may be like another's."""
    tasks: dict[str, task_lib.Task] = {}
    given: dict[str, str] = {}
    for name in names:
        try:
            tasks[name] = registry.get(name)
        except data_errors.DataError as error:
            raise errors.RunError(f"{name}: {error}") from error
        other = given.setdefault(tasks[name].name.casefold(), name)
        if other != name:
            raise errors.RunError(
                f"{other} and {name} both declare a task named {tasks[name].name!r}, "
                "but for its case perhaps; scores are kept by that name, so each needs "
                "one of its own"
            )
    return tasks


def spread(
    examples: Sequence[task_lib.Example], most: int | None
) -> list[task_lib.Example]:
    """Returns so many examples, evenly from all, whole groups of those that belong."""
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
    """A task's number for who always gives the commonest target of training.

    Args:
        task: whose number it is.
        train: its examples for training.
        examples: those that are scored.

    Returns:
        In percent; None where targets hardly come twice, as summaries do.
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
    """Returns a task's metrics and its one number.

    Raises:
        RunError: they are not what the task says. What else its own code raises goes
            through, with a note on whose it was.
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
            f"{task.name}: its score is {ranges.shown(metrics)}; accepted "
            "is a mapping of metrics to numbers in percent"
        )
    try:
        return metrics, aggregates.task_number(metrics, task.averaged)
    except data_errors.DataError as error:
        raise errors.RunError(f"{task.name}: {error}") from error


def try_score(task: task_lib.Task, examples: Sequence[task_lib.Example]) -> None:
    """Scores a few examples, so that what cannot be scored is found before training.

    Raises:
        RunError: as `score`, or the score is no number.
    """
    some = spread(examples, _TRIED)
    said = [example.targets[:_TRIED_LENGTH] for example in some]
    metrics, number = score(task, some, said)
    if not math.isfinite(number):
        raise errors.RunError(
            f"{task.name}: the targets themselves are scored {dict(metrics)}; accepted "
            "are finite numbers, 0 where a metric is undefined"
        )
