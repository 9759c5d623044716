"""Predictions for the downstream tasks of a run, in one folder per kept step."""

from collections.abc import Iterable
import contextlib

from clinometer.data import paths


class Predictions:
    """The folder `predictions/` of a run directory.

    Attributes:
        path: path of the folder, which need not exist.
    """

    def __init__(self, path: paths.AnyPath):
        """Stores the path; accesses no files."""
        self.path = path

    def of_step(self, step: int) -> paths.AnyPath:
        """Returns the folder of a step, which need not exist."""
        return self.path / str(step)

    def keep(self, steps: Iterable[int]) -> None:
        """Deletes the folders of all other steps, but nothing else in the folder.

        Args:
            steps: the steps to keep.
        """
        kept = {str(step) for step in steps}
        for name in paths.names(self.path) if paths.is_folder(self.path) else ():
            if name not in kept and name.isascii() and name.isdecimal():
                with contextlib.suppress(OSError):
                    paths.remove_tree(self.path / name)
