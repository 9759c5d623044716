"""Standard streams: what a command needs of them, whatever it was started with."""

import argparse
from collections.abc import Iterator
import contextlib
import io
import os
import sys

_MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


class OutputLostError(Exception):
    """Standard output takes no more, as on a full disk; no error of another file.

    No OSError, so that nobody takes it for that of a file that he writes.
    """


class _Output(io.TextIOWrapper):
    """Standard output, whose errors are told from those of files."""

    def write(self, text: str) -> int:
        with _named():
            return super().write(text)

    def flush(self) -> None:
        with _named():
            super().flush()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLostError(error.strerror) from error


def prepare() -> None:
    """Makes the three standard streams usable.

    A closed one leads nowhere, as else the next file that is opened would get its
    number, and what a library writes to its standard error would land in that file.
    What the output's encoding lacks is escaped, and what cannot be written to it is
    `OutputLostError`.
    """
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(
            io.BufferedReader(io.FileIO(0, "r", closefd=False))
        )
    if sys.stdout is None:
        sys.stdout = _Output(_writer(1))
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(_writer(2), write_through=True)
    if type(sys.stdout) is io.TextIOWrapper:
        sys.stdout = _Output(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _writer(number: int) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(number, "w", closefd=False))


def abandon() -> None:
    """Drops what could not be written, so that Python does not try again at its end."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def check_folder() -> None:
    """Raises ArgumentTypeError where the working directory is gone."""
    try:
        os.getcwd()
    except OSError as error:
        reason = f"the working directory: {error.strerror}"
        raise argparse.ArgumentTypeError(reason) from None
