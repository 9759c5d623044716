"""Writing so that nothing is ever half there: by temporary name, one at a time."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os

from clinometer.data.errors import DataError


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
      DataError: another process holds it and `wait` is False.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise DataError(
                    f"Another process is writing here (it holds {path!r})."
                ) from error
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
    """Turns a full disk, or one that refuses writing, into a DataError."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)
    try:
        yield
    except (OSError, RuntimeError) as error:
        # ArrayRecord raises RuntimeError, with the system's words in its message.
        reasons = [os.strerror(code) for code in codes]
        reason = next((reason for reason in reasons if reason in str(error)), None)
        if reason is None:
            raise
        raise DataError(
            f"Could not write {what}: {reason}. Nothing that existed has been lost; "
            "put this right and run the same command again."
        ) from error
