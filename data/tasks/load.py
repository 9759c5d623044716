"""A task's examples from the user's folder."""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import glob
import itertools
import logging
import pathlib
import re

from clinometer.data import compressed
from clinometer.data.errors import DataError
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Task

# Splits whose examples must have a label, to be taught or to choose a checkpoint.
_LABELED = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The examples of a split and how they were read.

    Attributes:
      examples: in the files' order.
      files: what was read.
      rows: how many rows the files have, the dropped ones too.
      dropped: reason -> how many rows or examples were left out.
    """

    examples: list[Example]
    files: tuple[str, ...]
    rows: int
    dropped: Mapping[str, int]

    def summary(self) -> str:
        """Returns one line about it, with what was dropped and why."""
        parts = [f"{len(self.examples):,} examples of {self.rows:,} rows"]
        parts += [f"left out {n:,}: {reason}" for reason, n in self.dropped.items()]
        return "; ".join(parts) + f" ({', '.join(self.files)})"


def load(task: Task, folder: str | pathlib.Path, split: str) -> list[Example]:
    """Returns a split's examples; says on the log what the release made us drop.

    Raises:
      DataError: no file is found (the places are listed), or a row is wrong.
    """
    loaded = read(task, folder, split)
    if loaded.dropped:
        logging.warning("%s %s: %s", task.name, split, loaded.summary())
    return loaded.examples


def read(task: Task, folder: str | pathlib.Path, split: str) -> Loaded:
    """Returns a split's examples and how they were read; raises as `load`."""
    loaded = read_files(task, find(task, folder, split), split)
    if not loaded.examples:
        raise DataError(f"{task.name} {split}: no examples; {loaded.summary()}.")
    return loaded


def find(task: Task, folder: str | pathlib.Path, split: str) -> list[pathlib.Path]:
    """Returns the files of a split, those of the first place that has any.

    Raises:
      DataError: the split is unknown, or no place has a file.
    """
    folder = pathlib.Path(folder)
    if split not in task.files:
        accepted = ", ".join(task.files)
        raise DataError(f"Task {task.name!r} has no split {split!r}, but {accepted}.")
    for place in task.files[split]:
        found = [_matches(folder, name) for name in _alternatives(place)]
        if all(found):
            return [folder / name for name in itertools.chain(*found)]
    missing = "" if folder.is_dir() else " (which is not a folder)"
    raise DataError(
        f"No {split} data of task {task.name!r} in {str(folder)!r}{missing}; "
        f"looked for {', '.join(task.files[split])}."
    )


def read_files(task: Task, paths: Sequence[str | pathlib.Path], split: str) -> Loaded:
    """Returns the examples of files in a format that the task's reader knows."""
    examples, rows, dropped = [], 0, collections.Counter()
    for path in map(pathlib.Path, paths):
        for row in task.read(path, split):
            rows += 1
            found = [row] if isinstance(row, Dropped) else task.examples(row)
            for example in found:
                if isinstance(example, Dropped):
                    dropped[example.reason] += 1
                elif example.answer is None and split in _LABELED:
                    raise row.error(f"no label, which a {split} set must have")
                else:
                    examples.append(example)
    return Loaded(examples, tuple(map(str, paths)), rows, dict(dropped))


def _matches(folder: pathlib.Path, name: str) -> list[str]:
    """Returns the files of a name or glob, else those that are so but compressed."""
    for suffix in ("", *compressed.SUFFIXES):
        found = sorted(glob.glob(name + suffix, root_dir=folder))
        if found:
            return found
    return []


def _alternatives(place: str) -> list[str]:
    """Returns the names that braces stand for: "x{a,b}" is xa and xb."""
    braces = re.search(r"\{([^{}]*)\}", place)
    if braces is None:
        return [place]
    before, after = place[: braces.start()], place[braces.end() :]
    return [
        before + middle + rest
        for middle in braces[1].split(",")
        for rest in _alternatives(after)
    ]
