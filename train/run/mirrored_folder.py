"""A folder for libraries that write local files only, mirrored to an object store."""

import os
import pathlib
import shutil
import tempfile

from clinometer.data import paths


class MirroredFolder:
    """A folder at any path, to be filled by a library.

    Attributes:
        local: where to write: the folder itself if it is local, otherwise a temporary
            one, whose files `send` copies.
    """

    def __init__(self, path: paths.AnyPath):
        """Creates the temporary folder, if one is needed.

        Args:
            path: path of the folder, which need not exist.
        """
        self._path = path
        self._remote = paths.is_remote(path)
        self._sent: dict[str, int] = {}  # File -> its size then.
        self.local = pathlib.Path(tempfile.mkdtemp() if self._remote else path)

    def send(self) -> None:
        """Copies the files that have grown since they were copied last."""
        for name in paths.files_below(self.local) if self._remote else ():
            size = os.path.getsize(self.local / name)
            if self._sent.get(name) != size:
                paths.upload(self.local / name, self._path / name)
                self._sent[name] = size

    def close(self) -> None:
        """Sends what is left and removes the temporary folder."""
        if self._remote:
            self.send()
            shutil.rmtree(self.local)
