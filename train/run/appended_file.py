"""A file that grows by appending, also in object stores, which cannot append."""

import os
import time

from clinometer.data import paths

# An object is written again at most this often, except by `sync` and `close`.
REWRITE_SECONDS = 60.0


class AppendedFile:
    """A new file with some content, open for appending.

    On a local disk, what is appended is in the file at once. In an object store, the
    whole object is written again, at most every `REWRITE_SECONDS`, and by `sync` and
    `close`; a process that is killed loses what was appended since.
    """

    def __init__(self, path: paths.PathLike, content: bytes):
        """Writes the content atomically and opens the file.

        Args:
            path: path of the file; replaced if it exists.
            content: its content so far.
        """
        self._path = path
        paths.write_bytes(path, content)
        self._local = self._object = None
        if paths.is_remote(path):
            self._object = bytearray(content)
            self._written = len(content), time.monotonic()
        else:
            self._local = open(path, "ab")  # noqa: SIM115

    def append(self, content: bytes) -> None:
        """Appends to the file."""
        if self._object is None:
            self._local.write(content)
            self._local.flush()
            return
        self._object += content
        if time.monotonic() - self._written[1] >= REWRITE_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Ensures that all content so far survives a crash of the machine."""
        if self._object is None:
            os.fsync(self._local.fileno())
        elif len(self._object) > self._written[0]:
            paths.write_bytes(self._path, bytes(self._object))
            self._written = len(self._object), time.monotonic()

    def close(self) -> None:
        """Writes what is left and closes the file."""
        if self._object is None:
            self._local.close()
        else:
            self.sync()
