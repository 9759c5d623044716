"""The runs of a folder, as a report needs them: their records and their histories."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any
from typing import TypeVar

from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

_DEPTH = 2  # Levels below a study's folder at which runs are looked for.
_T = TypeVar("_T")


class RecordError(ValueError):
    """A record is missing or cannot be read; the message names the file and field."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory as read."""

    name: str  # Path below the study's folder, without a leading `runs/`.
    directory: run_directory.RunDirectory
    record: run_record.Record

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl in order; empty if the file does not exist yet.

        Raises:
          RecordError: the file cannot be read, or a line but the last is none that a
            run writes; names file and line.
        """
        return _checked(self.directory.metrics.read)


def read_record(
    directory: run_directory.RunDirectory, *needed: str
) -> run_record.Record:
    """The record of a run directory.

    Args:
      directory: of the run.
      *needed: fields that must be there, such as `data.tasks`.

    Raises:
      RecordError: it is missing, cannot be read, or lacks a field; names both.
    """
    return _checked(lambda: directory.record(*needed))


def load_runs(directory: pathlib.Path) -> list[Run]:
    """All pretraining runs of a folder: itself, its subfolders, or those of `runs`.

    Returns:
      Runs sorted by name.

    Raises:
      RecordError: no such folder, no pretraining run in it, or a record that cannot be
        read.
    """
    if not directory.is_dir():
        raise RecordError(f"{directory}: no such folder")
    found = run_directory.find(directory, _DEPTH)
    if not found:
        raise RecordError(
            f"{directory}: no run in it; looked for {run_record.FILE_NAME} here and "
            "one or two folders below"
        )
    runs = []
    for run in found:
        relative = run.path.relative_to(directory).as_posix()
        name = relative.removeprefix("runs/") if relative != "." else "run"
        runs.append(Run(name, run, read_record(run)))
    # The loss of a run that learned tasks is none of a text's.
    pretrained = [run for run in runs if run.record.kind == run_record.PRETRAINING]
    if not pretrained:
        raise RecordError(
            f"{directory}: holds fine-tunings only; give the folder of the pretrained "
            "runs, whose report shows theirs too"
        )
    return sorted(pretrained, key=lambda run: run.name)


def _checked(read_part: Callable[[], _T]) -> _T:
    """Returns a part of a run directory; what the run says of it is a RecordError."""
    try:
        return read_part()
    except errors.RunError as error:
        raise RecordError(str(error)) from error
