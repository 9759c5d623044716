"""The profiler's trace of a few steps."""

import jax

from clinometer.data import paths
from clinometer.train.run import mirrored_folder


class Profile:
    """A trace that is written to a folder.

    Attributes:
        running: whether the profiler is recording.
    """

    def __init__(self, path: paths.AnyPath):
        """Stores the path; accesses no files.

        Args:
            path: path of the folder.
        """
        self.running = False
        self._path = path
        self._folder: mirrored_folder.MirroredFolder | None = None

    def start(self) -> None:
        """Starts to record."""
        self._folder = mirrored_folder.MirroredFolder(self._path)
        jax.profiler.start_trace(str(self._folder.local))
        self.running = True

    def stop(self) -> None:
        """Writes what was recorded, if anything is."""
        if self.running:
            jax.profiler.stop_trace()
            self._folder.close()
            self.running = False
