"""Keeps the id that a tracker has for a run, so that a resumed run continues it."""

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file

_FIELD = "id"


def read(directory: run_directory.RunDirectory, tracker: str) -> str | None:
    """Returns the id that a tracker has for a run; None if there is none yet.

    Args:
        directory: the run directory.
        tracker: name of the tracker.

    Raises:
        RunError: the file cannot be read; the message names it.
    """
    path = directory.trackers_path / f"{tracker}.json"
    try:
        found = json_file.read_object(path).get(_FIELD)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.RunError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(found, str):
        raise errors.RunError(
            f"{path}: {_FIELD} is {ranges.shown(found)}; accepted: a string"
        )
    return found


def write(directory: run_directory.RunDirectory, tracker: str, identifier: str) -> None:
    """Keeps the id that a tracker has for a run.

    Args:
        directory: the run directory.
        tracker: name of the tracker.
        identifier: the id.
    """
    paths.make_folder(directory.trackers_path)
    path = directory.trackers_path / f"{tracker}.json"
    json_file.write(path, {_FIELD: identifier})
