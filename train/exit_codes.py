"""The exit codes of every command, and what `--help` says of them."""

import argparse
from collections.abc import Mapping
import textwrap

from clinometer.train import errors

DONE = 0
FAILED = 1
USAGE = 2
STOPPED = 42  # By a signal, after saving; the same command continues.
HELD = 43  # Another process has the run.
INTERRUPTED = 130  # 128 + SIGINT, as shells report it.
READER_LEFT = 141  # 128 + SIGPIPE, likewise.

_MEANINGS = {DONE: "done", FAILED: "failed or cannot start", USAGE: "bad options"}
_WIDTH = 80


def described(meanings: Mapping[int, str] | None = None) -> str:
    """Returns the lines of `--help` about exit codes.

    Args:
        meanings: of codes that only this command has, or for which it says more.
    """
    told = sorted({**_MEANINGS, **(meanings or {})}.items())
    listed = "; ".join(f"{code} {meaning}" for code, meaning in told)
    return textwrap.fill(f"exit codes: {listed}", _WIDTH)


def of_error(error: Exception) -> int:
    """Returns the code of a command that an error has ended.

    An option or a field of the configuration that is refused is USAGE, and so is a
    folder that cannot be written to.
    """
    if isinstance(error, errors.RunHeldError):
        return HELD
    # Importing OptionError itself would load JAX, which makes --help slow.
    refused = (errors.ConfigError, argparse.ArgumentTypeError)
    return USAGE if isinstance(error, refused) else FAILED
