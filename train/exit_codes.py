"""Exit codes of the commands, and their description for `--help`."""

import argparse
from collections.abc import Mapping
import textwrap

from clinometer.train import errors

DONE = 0
FAILED = 1
USAGE = 2
STOPPED = 42  # Stopped by a signal after saving; the same command resumes the run.
HELD = 43  # Another process holds the run's lease.
LOST = 44  # Another process of the run was lost, or no step ended in time.
INTERRUPTED = 130  # 128 + SIGINT, as shells report it.
READER_LEFT = 141  # 128 + SIGPIPE, as shells report it.

_MEANINGS = {DONE: "done", FAILED: "failed or could not start", USAGE: "bad options"}
_WIDTH = 80


def described(meanings: Mapping[int, str] | None = None) -> str:
    """Returns the `--help` text about exit codes.

    Args:
        meanings: descriptions of further codes of the command, or replacements for the
            common descriptions.
    """
    told = sorted({**_MEANINGS, **(meanings or {})}.items())
    listed = "; ".join(f"{code} {meaning}" for code, meaning in told)
    return textwrap.fill(f"exit codes: {listed}", _WIDTH)


def of_error(error: Exception) -> int:
    """Returns the exit code for an error that ended a command.

    A rejected option or configuration field gives USAGE, and so does a folder that is
    not writable.

    Args:
        error: the exception.
    """
    if isinstance(error, errors.RunHeldError):
        return HELD
    # Importing OptionError itself would load JAX, which makes --help slow.
    refused = (errors.ConfigError, argparse.ArgumentTypeError)
    return USAGE if isinstance(error, refused) else FAILED
