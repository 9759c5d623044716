"""Prepares the standard streams of a command, however the process was started."""

import argparse
from collections.abc import Iterator
import contextlib
import io
import os
import sys

_MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


class OutputLostError(Exception):
    """Standard output cannot be written to, for instance because the disk is full.

    Not an OSError, so that it isn't mistaken for an error of another file.
    """


class _Output(io.TextIOWrapper):
    """Standard output, with errors that differ from those of other files."""

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

    A closed stream is redirected to the null device. Otherwise the next file that is
    opened would get its descriptor, and libraries that write to standard error would
    write into that file. Characters that the output's encoding lacks are escaped.
    Standard output raises `OutputLostError` if it cannot be written to.
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
    """Discards unwritten output, so that Python doesn't try to write it at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def check_folder() -> None:
    """Checks that the working directory exists.

    Raises:
        argparse.ArgumentTypeError: it was removed or cannot be read.
    """
    try:
        os.getcwd()
    except OSError as error:
        reason = f"the working directory: {error.strerror}"
        raise argparse.ArgumentTypeError(reason) from None
