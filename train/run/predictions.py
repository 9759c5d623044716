"""Predictions for the downstream tasks of a run, in one folder per kept step."""

from collections.abc import Iterable
import pathlib
import shutil


class Predictions:
    """The folder `predictions/` of a run directory.

    Attributes:
        path: path of the folder, which need not exist.
    """

    def __init__(self, path: pathlib.Path):
        """Stores the path; accesses no files."""
        self.path = path

    def of_step(self, step: int) -> pathlib.Path:
        """Returns the folder of a step, which need not exist."""
        return self.path / str(step)

    def keep(self, steps: Iterable[int]) -> None:
        """Deletes the folders of all other steps, but nothing else in the folder.

        Args:
            steps: the steps to keep.
        """
        kept = {str(step) for step in steps}
        for folder in self.path.glob("[0-9]*"):
            if folder.name not in kept and str.isdecimal(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
