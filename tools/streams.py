"""Standard streams: what a command needs of them, whatever it was started with."""

import argparse
import io
import os
import sys
from typing import TextIO

_MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


def prepare() -> None:
    """Makes the three standard streams usable.

    A closed one leads nowhere, as else the next file that is opened would get its
    number, and what a library writes to its standard error would land in that file.
    What the output's encoding lacks is escaped.
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
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
            setattr(sys, name, io.TextIOWrapper(raw, write_through=number == 2))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def works(stream: TextIO) -> bool:
    """Whether a stream still takes what is written to it."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


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
