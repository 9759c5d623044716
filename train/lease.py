"""A lease on a run directory, so that two processes never train one run.

On one host a file lock decides, and the kernel drops it when its process dies in
whatever way. Hosts that share a file system without such locks see each other's
heartbeat, and take over from a host that has been silent for long enough.
"""

import datetime
import fcntl
import json
import os
import pathlib
import socket
import threading
import time
from typing import Any

from clinometer.train import errors

HEARTBEAT_SECONDS = 10.0
TIMEOUT_SECONDS = 60.0
FILE_NAME = "lease.json"


class Lease:
    """Holds the lease of a run directory while its context is entered."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        host: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ):
        """Prepares to take the lease of `directory`, an existing folder."""
        self._path = pathlib.Path(directory) / FILE_NAME
        self._host = host or socket.gethostname()
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._since = time.time()
        self._file: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        """Takes the lease; raises RunHeldError saying who holds it since when."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._held(self._read()) from None
            holder = self._read()
            # A dead process of this host has lost the lock; of another, no one knows.
            elsewhere = holder.get("host", self._host) != self._host
            silent = time.time() - holder.get("heartbeat", 0.0)
            if (
                elsewhere
                and not holder.get("released")
                and silent < self._timeout_seconds
            ):
                raise self._held(holder)
        except errors.RunHeldError:
            os.close(self._file)
            self._file = None
            raise
        self._since = time.time()
        self._write(released=False)
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        """Lets the lease go."""
        self._stop.set()
        self._thread.join()
        self._write(released=True)
        os.close(self._file)  # Drops the lock.
        self._file = None

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_seconds):
            self._write(released=False)

    def _write(self, released: bool) -> None:
        # In place: a rename would leave the lock on a file without a name. One short
        # write of constant length, so that a reader sees the old or the new text.
        text = json.dumps(
            {
                "host": self._host,
                "pid": os.getpid(),
                "since": self._since,
                "heartbeat": time.time(),
                "released": released,
            }
        )
        os.pwrite(self._file, text.ljust(255).encode() + b"\n", 0)

    def _read(self) -> dict[str, Any]:
        try:
            holder = json.loads(os.pread(self._file, 4096, 0))
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}

    def _held(self, holder: dict[str, Any]) -> errors.RunHeldError:
        since = holder.get("since")
        when = "an unknown time"
        if since is not None:
            moment = datetime.datetime.fromtimestamp(since, datetime.UTC)
            when = moment.isoformat(timespec="seconds")
        return errors.RunHeldError(
            f"{self._path.parent} is being trained by process "
            f"{holder.get('pid', '?')} on {holder.get('host', 'an unknown host')} "
            f"since {when}; a run has one process (wait, stop that one, or use "
            "another --workdir)"
        )
