"""All tasks by name, and tasks of a user's own file."""

from collections.abc import Iterable
import difflib
import importlib.util
import itertools
import pathlib
import sys

from clinometer.data.errors import DataError
from clinometer.data.tasks import classification
from clinometer.data.tasks import glue
from clinometer.data.tasks import probes
from clinometer.data.tasks import rainbow
from clinometer.data.tasks import squad
from clinometer.data.tasks import summarization
from clinometer.data.tasks import superglue
from clinometer.data.tasks import winograd
from clinometer.data.tasks.task import Task

_TASKS: dict[str, Task] = {
    task.name: task
    for task in itertools.chain(
        glue.TASKS,
        superglue.TASKS,
        (winograd.WNLI, winograd.DPR),
        squad.TASKS,
        summarization.TASKS,
        classification.TASKS,
        rainbow.TASKS,
        probes.TASKS,
    )
}


def names() -> tuple[str, ...]:
    """Returns the names of the tasks that come with Clinometer."""
    return tuple(_TASKS)


def benchmarks() -> dict[str, tuple[str, ...]]:
    """Returns the names of each benchmark's tasks."""
    found = {}
    for task in _TASKS.values():
        if task.benchmark is not None:
            found[task.benchmark] = (*found.get(task.benchmark, ()), task.name)
    return found


def get(name: str) -> Task:
    """Returns a task by its name, or from a file by `path/to/my_task.py`.

    Raises:
      DataError: there is none; or the file declares several, of which
        `path/to/my_task.py:name` is one.
    """
    path, _, wanted = name.partition(".py")
    if name.endswith(".py") or wanted.startswith(":"):
        return _one(load_file(path + ".py"), wanted.removeprefix(":"), path + ".py")
    return _one(_TASKS, name, "Clinometer")


def load_file(path: str) -> dict[str, Task]:
    """Returns the tasks of a Python file: its TASK, or those of its TASKS.

    Raises:
      DataError: the file is missing, fails, declares no task or one that is ours.
    """
    file = pathlib.Path(path).resolve()
    if not file.is_file():
        raise DataError(f"Task file {path!r} does not exist.")
    spec = importlib.util.spec_from_file_location(f"clinometer_task_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up there.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        kind = type(error).__name__
        raise DataError(f"Task file {path!r} fails: {kind}: {error}") from error
    tasks = getattr(module, "TASKS", None) or (getattr(module, "TASK", None),)
    if not isinstance(tasks, Iterable) or not all(isinstance(t, Task) for t in tasks):
        raise DataError(
            f"Task file {path!r} must set TASK to a Task, or TASKS to a tuple of them."
        )
    for task in tasks:
        if task.name in _TASKS:
            raise DataError(f"Task file {path!r}: the name {task.name!r} is taken.")
    return {task.name: task for task in tasks}


def _one(tasks: dict[str, Task], name: str, where: str) -> Task:
    if not name and len(tasks) == 1:
        return next(iter(tasks.values()))
    if name in tasks:
        return tasks[name]
    near = difflib.get_close_matches(name, tasks, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(
        f"No task {name!r} in {where}.{hint} Accepted are {', '.join(tasks)}; or the "
        "path of a Python file that declares one."
    )
