"""A lease on a run directory, which ensures that only one process trains a run.

On one machine, a file lock decides; the kernel releases it when the process ends for
any reason. Containers on one machine are recognised by the kernel's boot id, because
their host names may differ. Machines that share a file system without such locks write
heartbeats to the lease file and take over from a holder whose heartbeat is too old.
"""

import contextlib
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
from clinometer.train.run import json_file

HEARTBEAT_SECONDS = 10.0
TIMEOUT_SECONDS = 60.0
FILE_NAME = "lease.json"

_TYPES = {
    "host": (str,),
    "boot_id": (str,),
    "pid": (int,),
    "since": (int, float),
    "heartbeat": (int, float),
    "released": (bool,),
}


def _boot_id() -> str | None:
    """Returns the kernel's boot id, equal in all containers; None if not on Linux."""
    try:
        path = pathlib.Path("/proc/sys/kernel/random/boot_id")
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


class Lease:
    """A context manager that holds the lease of a run directory."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        host: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ):
        """Prepares the lease; entering the context takes it.

        Args:
            directory: the run directory, which must exist.
            host: name of this machine; None to ask the system.
            heartbeat_seconds: seconds between heartbeats.
            timeout_seconds: age in seconds at which the heartbeat of another machine
                counts as lost.
        """
        self._path = pathlib.Path(directory) / FILE_NAME
        self._host = host or socket.gethostname()
        self._boot_id = _boot_id()
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._since = time.time()
        self._file: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        """Takes the lease.

        Raises:
            RunHeldError: another process holds it; the message says which and since
                when.
        """
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._held(self._read()) from None
            holder = self._read()
            # A dead process on this machine has lost its lock. For another machine, the
            # heartbeat decides.
            here = holder.get("host", self._host) == self._host or (
                self._boot_id is not None and holder.get("boot_id") == self._boot_id
            )
            silent = time.time() - holder.get("heartbeat", 0.0)
            if (
                not here
                and not holder.get("released")
                and silent < self._timeout_seconds
            ):
                if silent < -self._timeout_seconds:
                    raise errors.RunHeldError(
                        f"{self._path}: the heartbeat of {holder['host']} is "
                        f"{-silent:,.0f} s ahead of this machine's clock; correct the "
                        "clocks, or remove the file if no process is training this run"
                    )
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
        """Releases the lease."""
        self._stop.set()
        self._thread.join()
        self._write(released=True)
        os.close(self._file)  # Drops the lock.
        self._file = None

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_seconds):
            with contextlib.suppress(OSError):  # The next beat may succeed.
                self._write(released=False)

    def _write(self, released: bool) -> None:
        # Written in place, since after a rename the lock would be on the old file. A
        # single short write of constant length shows readers the old or the new text.
        text = json.dumps(
            {
                "host": self._host,
                "boot_id": self._boot_id,
                "pid": os.getpid(),
                "since": self._since,
                "heartbeat": time.time(),
                "released": released,
            }
        )
        line = text.ljust(255).encode() + b"\n"
        os.pwrite(self._file, line, 0)
        if os.fstat(self._file).st_size > len(line):  # Remove any other content.
            os.ftruncate(self._file, len(line))

    def _read(self) -> dict[str, Any]:
        """Returns the fields of the file, without those of an unexpected type."""
        try:
            holder = json_file.loads_object(os.pread(self._file, 4096, 0))
        except ValueError:
            return {}
        return {
            field: value
            for field, value in holder.items()
            if type(value) in _TYPES.get(field, ())
        }

    def _held(self, holder: dict[str, Any]) -> errors.RunHeldError:
        since = holder.get("since")
        when = "an unknown time"
        if since is not None:
            # In a damaged file, the time may be out of range.
            with contextlib.suppress(ValueError, OverflowError, OSError):
                moment = datetime.datetime.fromtimestamp(since, datetime.UTC)
                when = moment.isoformat(timespec="seconds")
        return errors.RunHeldError(
            f"{self._path.parent} is being trained by process "
            f"{holder.get('pid', '?')} on {holder.get('host', 'an unknown host')} "
            f"since {when}; only one process may train a run (wait for it, stop it, or "
            "use another --workdir)"
        )
