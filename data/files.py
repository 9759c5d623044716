"""Writing so that nothing is ever half there: by temporary name, one at a time."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import stat

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
    while True:
        # Opening a FIFO for reading and writing does not wait for its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size:
                raise DataError(
                    f"{path!r} is in the way of a lock file, which is empty; move it."
                )
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                held = f"another process is writing here (it holds {path!r})"
                if not wait:
                    raise DataError(f"A{held[1:]}.") from error
                Progress("lock").message(f"clinometer waits: {held}")
                fcntl.flock(file, fcntl.LOCK_EX)
            # Its last holder may have removed the file while this one waited.
            if not _is_at(file.fileno(), path):
                continue
            try:
                yield
            finally:
                os.remove(path)
            return


def _is_at(descriptor: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


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
