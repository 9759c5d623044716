"""Lock files, and errors of full or read-only disks."""

from collections.abc import Iterator
import contextlib
import errno
import os
import stat

import filelock

from clinometer.data.errors import DataError
from clinometer.data.progress import Progress

# Errors of a disk or path on which a file cannot be written.
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


@contextlib.contextmanager
def lock(path: str, *, wait: bool) -> Iterator[None]:
    """Holds a lock on the file `path`, which is removed when the lock is released.

    The system releases the lock if the process dies. A file left behind by a dead
    process does not block others.

    Args:
        path: the lock file; its folder is created if necessary.
        wait: whether to wait if another process holds the lock.

    Raises:
        DataError: another process holds the lock and `wait` is False, or `path` exists
            and is not a lock file.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    _check_is_no_other_file(path)
    # Without file-system locks this is an error: a soft lock would outlive its process.
    held = filelock.FileLock(path, fallback_to_soft=False)
    try:
        taken = held.acquire(blocking=False)
    except filelock.Timeout as error:
        holder = f"another process is writing here (it holds the lock {path!r})"
        if not wait:
            raise DataError(f"A{holder[1:]}.") from error
        Progress("lock").message(f"clinometer: waiting, as {holder}")
        taken = held.acquire()
    with taken:
        try:
            yield
        finally:
            os.remove(path)  # While it is held; a waiting process creates a new one.


def _check_is_no_other_file(path: str) -> None:
    """Raises DataError if `path` is not a lock file, which FileLock would truncate."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise DataError(
                f"{path!r} is needed for a lock file, but exists and is not an empty "
                "file; move it elsewhere."
            )


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Converts errors of a full disk or an unwritable path to DataError.

    Args:
        what: what is being written, for the message.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # ArrayRecord raises RuntimeError with the system's error text in its message.
        reasons = map(os.strerror, _REFUSED)
        reason = next((reason for reason in reasons if reason in str(error)), None)
        if reason is None:
            raise
        file = f" ({error.filename})" if getattr(error, "filename", None) else ""
        raise DataError(
            f"Could not write {what}: {reason}{file}. No existing data was lost; fix "
            "this and run the same command again."
        ) from error
