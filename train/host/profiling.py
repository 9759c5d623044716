"""The profiler's trace of a few steps."""

import jax

from clinometer.data import paths
from clinometer.train.run import mirrored_folder


class Profile:
    """A trace that is written to a folder.

    Attributes:
        running: whether the profiler is recording.
    """

    def __init__(self, path: paths.AnyPath, *, writes: bool = True):
        """Stores the path; accesses no files.

        Args:
            path: path of the folder.
            writes: whether to record; if not, only `running` changes.
        """
        self.running = False
        self._path, self._writes = path, writes
        self._folder: mirrored_folder.MirroredFolder | None = None

    def start(self) -> None:
        """Starts to record."""
        self.running = True
        if self._writes:
            self._folder = mirrored_folder.MirroredFolder(self._path)
            jax.profiler.start_trace(str(self._folder.local))

    def stop(self) -> None:
        """Writes what was recorded, if anything is."""
        if self._folder is not None:
            jax.profiler.stop_trace()
            self._folder.close()
            self._folder = None
        self.running = False
