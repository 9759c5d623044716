"""Loads the examples of a task from the user's folder."""

import collections
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import glob
import itertools
import logging
import os
import pathlib
import re

from clinometer.data.corpus import compressed
from clinometer.data.errors import DataError
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

# Splits whose examples must have labels, for training and for choosing a checkpoint.
_LABELED = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The examples of a split, with statistics.

    Attributes:
        examples: the examples, in the order of the files.
        files: paths of the files.
        rows: number of rows in the files, dropped ones included.
        dropped: reason -> number of dropped rows or examples.
    """

    examples: list[Example]
    files: tuple[str, ...]
    rows: int
    dropped: Mapping[str, int]

    def summary(self) -> str:
        """Returns a one-line summary that says what was dropped and why."""
        parts = [f"{len(self.examples):,} examples of {self.rows:,} rows"]
        parts += [f"dropped {n:,}: {reason}" for reason, n in self.dropped.items()]
        return "; ".join(parts) + f" ({', '.join(self.files)})"


def load(task: Task, folder: str | pathlib.Path, split: str) -> list[Example]:
    """Returns the examples of a split, and logs a warning if rows were dropped.

    Args:
        task: the task.
        folder: the user's folder.
        split: "train", "validation" or "test".

    Raises:
        DataError: no file is found (the message lists where they may be), a file or row
            is invalid, or there are no examples.
    """
    loaded = read(task, folder, split)
    if loaded.dropped:
        logging.warning("%s %s: %s", task.name, split, loaded.summary())
    return loaded.examples


def read(task: Task, folder: str | pathlib.Path, split: str) -> Loaded:
    """Returns the examples of a split with statistics; see `load`."""
    loaded = read_files(task, find(task, folder, split), split)
    if not loaded.examples:
        raise DataError(f"{task.name} {split}: no examples; {loaded.summary()}.")
    return loaded


def find(task: Task, folder: str | pathlib.Path, split: str) -> list[pathlib.Path]:
    """Returns the paths of a split's files, from the first place that has them.

    Args:
        task: the task.
        folder: the user's folder.
        split: "train", "validation" or "test".

    Raises:
        DataError: the task has no such split, or no files are found.
    """
    folder = pathlib.Path(folder)
    if split not in task.files:
        accepted = ", ".join(task.files)
        raise DataError(
            f"Task {task.name!r} has no split {split!r}; accepted are {accepted}."
        )
    for place in task.files[split]:
        found = [_matches(folder, name) for name in _alternatives(place)]
        if all(found):
            return [folder / name for name in itertools.chain(*found)]
    missing = "" if os.path.isdir(folder) else " (which is not a folder)"
    raise DataError(
        f"No {split} data for task {task.name!r} in {str(folder)!r}{missing}; looked "
        f"for {', '.join(task.files[split])}."
    )


def read_files(task: Task, paths: Sequence[str | pathlib.Path], split: str) -> Loaded:
    """Returns the examples of given files, with statistics.

    Args:
        task: the task.
        paths: files or folders in a format that the task's reader accepts.
        split: "train", "validation" or "test".

    Raises:
        DataError: a file or row is invalid, or a label is missing that the split needs.
    """
    examples, count, dropped = [], 0, collections.Counter()
    for row in rows(task, paths, split):
        count += 1
        for example in _examples(task, row):
            if isinstance(example, Dropped):
                dropped[example.reason] += 1
            elif example.answer is None and split in _LABELED:
                raise row.error(f"no label, which {split} data must have")
            else:
                examples.append(example)
    return Loaded(examples, tuple(map(str, paths)), count, dict(dropped))


def rows(
    task: Task, paths: Sequence[str | pathlib.Path], split: str
) -> Iterator[Row | Dropped]:
    """Yields the rows of files, as the task's reader yields them.

    Args:
        task: the task.
        paths: the files, or folders, to read.
        split: the split, which is passed to the reader.

    Raises:
        DataError: a file cannot be read, or a row is invalid. Other exceptions of the
            task's own code propagate, with a note about the file and line.
    """
    for path in map(pathlib.Path, paths):
        origin = str(path)
        try:
            for row in task.read(path, split):
                if not isinstance(row, Row | Dropped):
                    kind = type(row).__name__
                    raise DataError(
                        f"{path}: `read` of task {task.name!r} yields {kind}; accepted "
                        "are `Row` and `Dropped`."
                    )
                origin = row.origin
                yield row
        except DataError:
            raise
        except OSError as error:
            where = error.filename or path
            raise DataError(f"{where}: {error.strerror or error}.") from error
        except Exception as error:
            error.add_note(f"Task {task.name!r} was reading {path}, after {origin}.")
            raise


def _examples(task: Task, row: Row | Dropped) -> Iterator[Example | Dropped]:
    """Yields the examples that a task makes from a row; raises as `rows`."""
    if isinstance(row, Dropped):
        yield row
        return
    try:
        for example in task.examples(row):
            if isinstance(example, Example):
                _check(example, row)
            elif not isinstance(example, Dropped):
                kind = type(example).__name__
                raise row.error(
                    f"`examples` of task {task.name!r} yields {kind}; accepted are "
                    "`Example` and `Dropped`"
                )
            yield example
    except DataError:
        raise
    except Exception as error:
        error.add_note(f"Task {task.name!r} was making examples of {row.origin}.")
        raise


def _check(example: Example, row: Row) -> None:
    """Raises DataError if an example cannot be used for training or scoring."""
    for field in ("inputs", "targets"):
        text = getattr(example, field)
        if not isinstance(text, str):
            kind = type(text).__name__
            raise row.error(f"the example's {field} are {kind}, not a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise row.error(
                f"the example's {field} are not valid Unicode: {error}"
            ) from None
    try:
        hash(example.group)
    except TypeError as error:
        raise row.error(f"the example's group is not hashable: {error}") from None


def _matches(folder: pathlib.Path, name: str) -> list[str]:
    """Returns the files that match a name or glob, or else the compressed ones."""
    for suffix in ("", *compressed.SUFFIXES):
        found = sorted(glob.glob(name + suffix, root_dir=folder))
        if found:
            return found
    return []


def _alternatives(place: str) -> list[str]:
    """Expands the braces in a name: "x{a,b}" gives "xa" and "xb"."""
    braces = re.search(r"\{([^{}]*)\}", place)
    if braces is None:
        return [place]
    before, after = place[: braces.start()], place[braces.end() :]
    return [
        before + middle + rest
        for middle in braces[1].split(",")
        for rest in _alternatives(after)
    ]
