"""Suppresses log output of libraries that would hide our own messages.

Orbax logs very long messages about errors that it also raises.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import logging
import os
import sys
import traceback
import types
from typing import Any

from clinometer.kernels.options import deprecation


def log_warnings() -> None:
    """Logs warnings to standard error, but only errors from absl (used by Orbax)."""
    deprecation.show()
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Suppresses Orbax's log inside the context, and its errors after failed reads.

    The latter stay suppressed, because they can be reported much later.
    """
    if not isinstance(sys.unraisablehook, _LateReads):
        sys.unraisablehook = _LateReads(sys.unraisablehook)
    logging.getLogger("asyncio").addFilter(_is_no_late_read)  # Never removed.
    logging.getLogger("absl").addFilter(_drop)
    try:
        yield
    finally:
        logging.getLogger("absl").removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    del record
    return False


class _LateReads:
    """A `sys.unraisablehook` that ignores errors from abandoned reads.

    When one of many reads fails, Orbax abandons the others and closes their event loop.
    They raise errors when they end or are garbage-collected, possibly much later.
    """

    def __init__(self, otherwise: Callable[[Any], Any]):
        self._otherwise = otherwise

    def __call__(self, unraisable: Any) -> None:
        if not _is_late_read(unraisable.exc_value, unraisable.exc_traceback):
            self._otherwise(unraisable)


def _is_no_late_read(record: logging.LogRecord) -> bool:
    return not (record.exc_info and _is_late_read(*record.exc_info[1:]))


def _is_late_read(
    error: BaseException | None, trace: types.TracebackType | None
) -> bool:
    said = str(error)
    if "Event loop is closed" in said or "tensorstore" in said:
        return True
    files = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace))
    return any(f"{os.sep}orbax{os.sep}" in file for file in files)
