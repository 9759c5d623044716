"""Loads the runs of a folder, with their records and metrics."""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import TypeVar

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record

_DEPTH = 2  # How many levels below a study's folder are searched for runs.
# Files that a run writes before its record; `log.txt` is written by a study.
_TRACES = ("log.txt", lease.FOLDER, metrics_log.FILE_NAME)
_T = TypeVar("_T")


class RecordError(ValueError):
    """A run record is missing or cannot be read; names the file and field."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that was read from its directory.

    Attributes:
        name: path below the study's folder, without a leading `runs/`.
        directory: the run directory.
        record: the run record.
    """

    name: str
    directory: run_directory.RunDirectory
    record: run_record.Record

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl in order; none if there is no file yet.

        Raises:
            RecordError: the file cannot be read, or a line other than the last is
                invalid. The message names the file and line.
        """
        return checked(self.directory.metrics.read)


def read_record(
    directory: run_directory.RunDirectory, *needed: str
) -> run_record.Record:
    """Returns the record of a run directory.

    Args:
        directory: the run directory.
        *needed: fields that must be present, such as `data.tasks`.

    Raises:
        RecordError: the record is missing, cannot be read, or lacks a needed field. The
            message names the file and field.
    """
    return checked(lambda: directory.record(*needed))


def load_runs(directory: paths.AnyPath) -> list[Run]:
    """Loads all pretraining runs in a folder.

    Args:
        directory: a run directory, or a folder with run directories one or two levels
            below it.

    Returns:
        The runs, sorted by name.

    Raises:
        RecordError: the folder doesn't exist or has no pretraining run, or a record
            cannot be read.
    """
    if not paths.is_folder(directory):
        raise RecordError(f"{directory}: no such folder")
    found = run_directory.find(directory, _DEPTH)
    if not found:
        raise RecordError(
            f"{directory}: no run found; looked for {run_record.FILE_NAME} in this "
            "folder and one or two levels below"
        )
    runs = []
    for run in found:
        relative = run.path.relative_to(directory).as_posix()
        name = relative.removeprefix("runs/") if relative != "." else "run"
        runs.append(Run(name, run, read_record(run)))
    # Losses of fine-tunings cannot be compared with those of pretraining.
    pretrained = [run for run in runs if run.record.kind != run_record.FINETUNING]
    if not pretrained:
        raise RecordError(
            f"{directory}: contains only fine-tunings; give the folder of the "
            "pretrained runs, whose report includes their fine-tunings"
        )
    return sorted(pretrained, key=lambda run: run.name)


def lost_runs(directory: paths.AnyPath) -> list[str]:
    """Returns the names of runs that ended before they wrote a record.

    Their folders hold a log or a lease, but no `run.json`.

    Args:
        directory: as for `load_runs`.
    """
    folders = {
        path.parent
        for name in _TRACES
        for path in paths.find(directory, name, _DEPTH)
        if path.parent != directory
    }
    names = (
        folder.relative_to(directory)
        for folder in folders
        if not run_directory.RunDirectory(folder).has_record
    )
    return sorted(
        name.as_posix().removeprefix("runs/")
        for name in names
        if run_directory.FINETUNINGS not in name.parts
    )


def checked(read_part: Callable[[], _T]) -> _T:
    """Returns what `read_part` returns; a RunError becomes a RecordError."""
    try:
        return read_part()
    except errors.RunError as error:
        raise RecordError(str(error)) from error
