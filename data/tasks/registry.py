"""Finds tasks by name, and loads tasks from a user's file."""

from collections.abc import Iterable
import importlib.util
import itertools
import os
import sys
import traceback

from clinometer.data.errors import DataError
from clinometer.data.errors import nearest
from clinometer.data.mixtures import aggregates
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
# Names that a user's task must not have, ignoring case, as files are named after tasks
# and some file systems ignore case.
_TAKEN = {*_TASKS, *aggregates.AVERAGES, aggregates.OVERALL_NAME}


def names() -> tuple[str, ...]:
    """Returns the names of the tasks that come with Clinometer."""
    return tuple(_TASKS)


def benchmarks() -> dict[str, tuple[str, ...]]:
    """Returns benchmark -> the names of its tasks."""
    found = {}
    for task in _TASKS.values():
        if task.benchmark is not None:
            found[task.benchmark] = (*found.get(task.benchmark, ()), task.name)
    return found


def get(name: str) -> Task:
    """Returns a task by its name or file.

    Args:
        name: the name of one of Clinometer's tasks; or the path of a file that declares
            one task, `path/to/my_task.py`; or, if the file declares several,
            `path/to/my_task.py:name`.

    Raises:
        DataError: there is no such task, the file declares several, or `load_file`
            fails.
    """
    path, wanted = name, ""
    if not name.endswith(".py"):
        path, _, wanted = name.rpartition(":")
    if path.endswith(".py"):
        return _one(load_file(path), wanted, path)
    return _one(_TASKS, name, "Clinometer")


def load_file(path: str) -> dict[str, Task]:
    """Returns the tasks that a Python file declares as `TASK` or `TASKS`.

    Args:
        path: the Python file.

    Returns:
        Name -> task.

    Raises:
        DataError: the file is missing, declares no task, or declares one whose name is
            taken; or running it fails. The message has the line of the failure and,
            unless a task's declaration is invalid, the traceback.
    """
    if not os.path.isfile(path):
        raise DataError(f"Task file {path!r} does not exist.")
    file = os.path.realpath(path)
    stem = os.path.basename(file).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(f"clinometer_task_{stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up there.
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DataError(_failure(path, file, error)) from error
    tasks = getattr(module, "TASKS", None) or (getattr(module, "TASK", None),)
    tasks = tuple(tasks) if isinstance(tasks, Iterable) else ()
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise DataError(
            f"Task file {path!r} must set TASK to a Task, or TASKS to a tuple of Tasks."
        )
    taken = {name.casefold(): name for name in _TAKEN}
    for task in tasks:
        other = taken.get(task.name.casefold())
        if other is not None:
            raise DataError(
                f"Task file {path!r}: the name {task.name!r} is taken by {other!r} "
                "(names are compared ignoring case)."
            )
        taken[task.name.casefold()] = task.name
    return {task.name: task for task in tasks}


def _failure(path: str, file: str, error: BaseException) -> str:
    """Returns the message for a user's file that fails, with the traceback in it."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"Task file {path!r}, line {error.lineno}, fails: {error.msg}."
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename != file:
        frames = frames.tb_next
    reason = f"{type(error).__name__}: {error}"
    if frames is None:  # The file could not be run at all.
        return f"Task file {path!r} fails: {reason}"
    first = f"Task file {path!r}, line {frames.tb_lineno}, fails: "
    if isinstance(error, DataError):
        return f"{first}{error}"
    listed = "".join(traceback.format_tb(frames))
    return f"{first}{reason}\nTraceback of the file:\n{listed.rstrip()}"


def _one(tasks: dict[str, Task], name: str, where: str) -> Task:
    if not name and len(tasks) == 1:
        return next(iter(tasks.values()))
    if name in tasks:
        return tasks[name]
    near = nearest(name, tasks)
    hint = f" Did you mean {near!r}?" if near else ""
    raise DataError(
        f"No task {name!r} in {where}.{hint} Accepted are {', '.join(tasks)}, or the "
        "path of a Python file that declares a task."
    )
