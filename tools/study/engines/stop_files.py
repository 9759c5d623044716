"""Stop files, by which runs on any machine are asked to save and stop.

What an engine calls "cancel" may kill without saving. The trainer looks for the file
`stop` in its run directory, saves, and removes it.
"""

import contextlib
import pathlib

from clinometer.data import paths
from clinometer.train.hosts import stop


def write(run: pathlib.Path) -> None:
    """Asks the process that trains the run, or will, to save and stop.

    Args:
        run: the run directory.
    """
    paths.write_bytes(run / stop.FILE_NAME, b"")


def is_there(run: pathlib.Path) -> bool:
    """Returns whether a run is asked to stop, and no process has done so yet."""
    return paths.is_file(run / stop.FILE_NAME)


def remove(run: pathlib.Path) -> None:
    """Withdraws a request to stop that no process has seen."""
    with contextlib.suppress(FileNotFoundError):
        paths.remove(run / stop.FILE_NAME)
