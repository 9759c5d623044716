"""Writing so that nothing is ever half there: by temporary name, one at a time."""

from collections.abc import Iterator
import contextlib
import errno
import os
import stat

import filelock

from clinometer.data.errors import DataError
from clinometer.data.progress import Progress

# Why a disk or a path does not take a file.
_REFUSED = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
)


def write_whole(path: str, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it to `path`."""
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


@contextlib.contextmanager
def lock(path: str, *, wait: bool) -> Iterator[None]:
    """Holds the lock file `path`; the system frees it when the process dies.

    The file goes when the lock does; one left by a dead process locks nobody out.

    Raises:
      DataError: another process holds it and `wait` is False, or there is a file of
        that name which is no lock.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    _check_is_no_other_file(path)
    # A file system without locks is an error: a soft lock outlives its process.
    held = filelock.FileLock(path, fallback_to_soft=False)
    try:
        taken = held.acquire(blocking=False)
    except filelock.Timeout as error:
        holder = f"another process is writing here (it holds {path!r})"
        if not wait:
            raise DataError(f"A{holder[1:]}.") from error
        Progress("lock").message(f"clinometer waits: {holder}")
        taken = held.acquire()
    with taken:
        try:
            yield
        finally:
            os.remove(path)  # While it is held: who waits for it makes a new one.


def _check_is_no_other_file(path: str) -> None:
    """Raises DataError for a file that is no lock: FileLock empties what it takes."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise DataError(
                f"{path!r} is in the way of a lock file, which is empty; move it."
            )


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a full disk, or a place that cannot be written, into a DataError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # ArrayRecord raises RuntimeError, with the system's words in its message.
        reasons = map(os.strerror, _REFUSED)
        reason = next((reason for reason in reasons if reason in str(error)), None)
        if reason is None:
            raise
        file = f" ({error.filename})" if getattr(error, "filename", None) else ""
        raise DataError(
            f"Could not write {what}: {reason}{file}. Nothing that existed has been "
            "lost; put this right and run the same command again."
        ) from error
