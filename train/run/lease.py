"""A lease on a run directory, which ensures that only one process writes a run.

Each acquisition creates the next of the files `lease/1.json`, `lease/2.json` and so on,
which only one process can do, on a local disk and in an object store alike. The newest
one names the holder, who changes it with each heartbeat and looks, before it writes
anything else, whether there is a newer one: a holder that was stopped for so long that
another process took over does not write any more.

Whether a holder on another machine is alive is seen by watching its file for a while;
no clocks are compared. On one machine, a lock on `lease/lock` decides at once, since
the kernel releases it when the process ends for any reason. Containers on one machine
are recognised by the kernel's boot id, because their host names may differ.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import logging
import os
import pathlib
import re
import socket
import threading
import time
from typing import Any
import uuid

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import json_file

HEARTBEAT_SECONDS = 10.0
TIMEOUT_SECONDS = 60.0
FOLDER = "lease"

_LOCK = "lock"
_LOOKS_PER_TIMEOUT = 60
_NAME = re.compile(r"(?P<number>[1-9]\d{0,17})\.json")
_TYPES = {
    "owner": (str,),
    "host": (str,),
    "boot_id": (str,),
    "pid": (int,),
    "since": (int, float),
    "beats": (int,),
    "released": (bool,),
}


def boot_id() -> str | None:
    """Returns the kernel's boot id, equal in all containers; None if not on Linux."""
    try:
        path = pathlib.Path("/proc/sys/kernel/random/boot_id")
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that last took a lease, for display only.

    Attributes:
        host: name of its machine, or None.
        pid: its process id, or None.
        released: whether it has released the lease.
        silent_seconds: time since its last heartbeat, by the clocks of both machines.
    """

    host: str | None
    pid: int | None
    released: bool
    silent_seconds: float

    @property
    def seems_alive(self) -> bool:
        """Whether it holds the lease and has given a sign of life in time."""
        return not self.released and self.silent_seconds < TIMEOUT_SECONDS


def last_holder(directory: pathlib.Path) -> Holder | None:
    """Returns the process that last took the lease of a run; None if there is none.

    Args:
        directory: the run directory, on a disk.
    """
    folder = directory / FOLDER
    try:
        numbers = map(_NAME.fullmatch, os.listdir(folder))
        path = folder / f"{max(int(n['number']) for n in numbers if n)}.json"
        content, changed = path.read_bytes(), path.stat().st_mtime
    except (OSError, ValueError):  # Not there, or just replaced by the next.
        return None
    found = _parsed(content)
    return Holder(
        found.get("host"),
        found.get("pid"),
        bool(found.get("released")),
        max(0.0, time.time() - changed),
    )


class Lease:
    """A context manager that holds the lease of a run directory."""

    def __init__(
        self,
        directory: paths.PathLike,
        *,
        host: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ):
        """Prepares the lease; entering the context takes it.

        Args:
            directory: the run directory, which must exist if it is local.
            host: name of this machine; None to ask the system.
            heartbeat_seconds: seconds between heartbeats.
            timeout_seconds: silence of a holder on another machine, as measured by this
                process, after which it counts as dead.
        """
        self._directory = paths.parse(directory)
        self._folder = self._directory / FOLDER
        self._host = host or socket.gethostname()
        self._boot_id = boot_id()
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._owner = uuid.uuid4().hex
        self._number = 0
        self._since = 0.0
        self._beats = 0
        self._lock: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        """Takes the lease; may watch the last holder for a while.

        Raises:
            RunHeldError: another process holds it; the message says which and since
                when.
        """
        paths.make_folder(self._folder)
        locked = self._take_lock()
        try:
            while not self._acquired(locked):
                pass
        except BaseException:
            self._drop_lock()
            raise
        for number in self._numbers():
            if number < self._number:
                with contextlib.suppress(FileNotFoundError):
                    paths.remove(self._file(number))
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        """Releases the lease."""
        self.release()

    def release(self) -> None:
        """Lets other processes take the lease; may be called twice."""
        self._stop.set()
        self._thread.join()
        # A failure, as on a full disk, only makes processes on other machines wait.
        with contextlib.suppress(errors.RunHeldError, OSError):
            self.check()
            self._write(released=True)
        self._drop_lock()

    def check(self) -> None:
        """Checks that this process still holds the lease; call it before each write.

        Raises:
            RunHeldError: another process has taken over; nothing may be written.
        """
        newest = max(self._numbers(), default=0)
        content = self._content(newest) if newest else b""
        if newest < self._number or not content:
            raise errors.RunHeldError(
                f"{self._file(self._number)} was removed, so that another process may "
                "train this run; this one wrote nothing more"
            )
        holder = _parsed(content)
        if newest > self._number or holder.get("owner") != self._owner:
            raise errors.RunHeldError(
                f"{self._directory} was taken over by {_described(holder)}, because "
                f"this process was silent for more than {self._timeout_seconds:g} s; "
                "it wrote nothing more"
            )

    def _acquired(self, locked: bool) -> bool:
        """Tries to create the next file; returns False to look again."""
        newest = max(self._numbers(), default=0)
        if newest:
            content = self._content(newest)
            holder = _parsed(content)
            free = holder.get("released") or self._is_dead(holder, locked)
            # What no process writes holds nobody up.
            free = free or "beats" not in holder
            if not free and not self._falls_silent(newest, content):
                return False
        self._number, self._since, self._beats = newest + 1, time.time(), 0
        try:
            paths.create_bytes(self._file(self._number), self._text(released=False))
        except FileExistsError:
            return False
        # A process that looked long ago may create a file whose successors are removed.
        return max(self._numbers()) == self._number

    def _is_dead(self, holder: dict[str, Any], locked: bool) -> bool:
        """Returns whether the holder was on this machine, whose lock it has lost."""
        if not locked:
            return False
        if self._boot_id is not None and "boot_id" in holder:
            return holder["boot_id"] == self._boot_id
        return holder.get("host") == self._host

    def _falls_silent(self, number: int, content: bytes) -> bool:
        """Watches the holder's file; returns False if the lease was released.

        Raises:
            RunHeldError: the holder gave a sign of life.
        """
        logging.warning(
            "%s: last held by %s; waiting up to %g s for a sign of life",
            self._directory,
            _described(_parsed(content)),
            self._timeout_seconds,
        )
        end = time.monotonic() + self._timeout_seconds
        while time.monotonic() < end:
            time.sleep(self._timeout_seconds / _LOOKS_PER_TIMEOUT)
            newest = max(self._numbers(), default=0)
            now = self._content(newest)
            if _parsed(now).get("released") or not newest:
                return False
            if (newest, now) != (number, content):
                raise self._held(_parsed(now))
        return True

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_seconds):
            try:
                self.check()
                self._beats += 1
                self._write(released=False)
            except errors.RunHeldError:
                return  # The next check says so.
            except OSError:
                continue  # The next beat may succeed.

    def _write(self, released: bool) -> None:
        paths.write_bytes(self._file(self._number), self._text(released))

    def _text(self, released: bool) -> bytes:
        holder = {
            "owner": self._owner,
            "host": self._host,
            "boot_id": self._boot_id,
            "pid": os.getpid(),
            "since": self._since,
            "beats": self._beats,
            "released": released,
        }
        return (json_file.dumps(holder) + "\n").encode()

    def _numbers(self) -> list[int]:
        """Returns the numbers of the files."""
        try:
            names = paths.names(self._folder)
        except FileNotFoundError:
            return []
        return [int(found["number"]) for found in map(_NAME.fullmatch, names) if found]

    def _file(self, number: int) -> paths.AnyPath:
        return self._folder / f"{number}.json"

    def _content(self, number: int) -> bytes:
        """Returns the content of a file; empty if there is none."""
        try:
            return paths.read_bytes(self._file(number))
        except FileNotFoundError:
            return b""

    def _take_lock(self) -> bool:
        """Locks the folder; returns False if it is not on a disk with locks.

        Raises:
            RunHeldError: another process has locked it.
        """
        if paths.is_remote(self._folder):
            return False
        path = self._folder / _LOCK
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop_lock()
            newest = max(self._numbers(), default=0)
            raise self._held(_parsed(self._content(newest))) from None
        except OSError:  # Some network file systems have no locks.
            self._drop_lock()
            return False
        return True

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _held(self, holder: dict[str, Any]) -> errors.RunHeldError:
        return errors.RunHeldError(
            f"{self._directory} is being trained by {_described(holder)}; only one "
            "process may train a run (wait for it, stop it, or use another --workdir)"
        )


def _parsed(content: bytes) -> dict[str, Any]:
    """Returns the fields of a file, without those of an unexpected type."""
    try:
        holder = json_file.loads_object(content)
    except ValueError:
        return {}
    return {
        field: value
        for field, value in holder.items()
        if type(value) in _TYPES.get(field, ())
    }


def _described(holder: dict[str, Any]) -> str:
    since = holder.get("since")
    when = "an unknown time"
    if since is not None:
        # In a damaged file, the time may be out of range.
        with contextlib.suppress(ValueError, OverflowError, OSError):
            moment = datetime.datetime.fromtimestamp(since, datetime.UTC)
            when = moment.isoformat(timespec="seconds")
    return (
        f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')} "
        f"since {when}"
    )
