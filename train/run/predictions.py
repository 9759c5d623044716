"""The predictions of a run's downstream tasks: a folder for each step that was kept."""

from collections.abc import Iterable
import pathlib
import shutil


class Predictions:
    """The folder of predictions of a run directory.

    Attributes:
        path: the folder, which may not exist.
    """

    def __init__(self, path: pathlib.Path):
        """Touches nothing."""
        self.path = path

    def of_step(self, step: int) -> pathlib.Path:
        """Returns the folder of a step, which may not exist."""
        return self.path / str(step)

    def keep(self, steps: Iterable[int]) -> None:
        """Removes those of other steps; what has not the name of a step stays."""
        kept = {str(step) for step in steps}
        for folder in self.path.glob("[0-9]*"):
            if folder.name not in kept and str.isdecimal(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
