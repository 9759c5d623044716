"""Finds the run directories of a folder, those without a record too."""

from collections.abc import Iterator
import os
import pathlib

from clinometer.kernels.options.errors import OptionError
from clinometer.tools.study import folder as study_folder
from clinometer.tools.study.engines import tries
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease
from clinometer.train.run import metrics_log

# A study with parts has its runs at the third level: parts/NAME/runs/RUN.
_DEPTH = 4
_TRACES = frozenset({lease.FOLDER, metrics_log.FILE_NAME, tries.FILE_NAME})


def find(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the run directories in and below a folder, sorted by path.

    Fine-tunings are found below their runs. Nothing else of a run is searched.

    Args:
        root: the folder; links to folders below it are not followed.

    Raises:
        OptionError: there is no such folder, or it cannot be read.
    """
    try:
        return sorted(_below(root, _DEPTH))
    except OSError as error:
        raise OptionError(f"{error.filename}: {error.strerror}") from error


def planned(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the directories of the runs that a study's folder plans.

    Args:
        root: the folder; if it is not a study's, nothing is planned.

    Raises:
        StudyError: study.json cannot be read.
    """
    return [root / "runs" / name for name in study_folder.planned(root)]


def name(run: pathlib.Path, root: pathlib.Path) -> str:
    """Returns the name of a run in a folder: its path, without a leading `runs/`."""
    relative = run.relative_to(root).as_posix()
    return root.resolve().name if relative == "." else relative.removeprefix("runs/")


def _below(folder: pathlib.Path, levels: int) -> Iterator[pathlib.Path]:
    with os.scandir(folder) as entries:
        found = {e.name: e.is_dir(follow_symlinks=False) for e in entries}
    is_run = not _TRACES.isdisjoint(found)
    is_run = is_run or run_directory.RunDirectory(folder).has_record
    if is_run:
        yield folder
        inside = [run_directory.FINETUNINGS]
    else:
        inside = [each for each, is_folder in found.items() if is_folder]
    if levels:
        for each in inside:
            if found.get(each):
                yield from _below(folder / each, levels - 1)
