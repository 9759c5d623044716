"""What the commands that read results share: an option, and how errors end them."""

import argparse
from collections.abc import Callable
import sys

from clinometer.data.errors import DataError
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.report import records
from clinometer.tools.results import errors
from clinometer.train import exit_codes


def add_mixed(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Adds the option `--mixed`.

    Args:
        parser: the parser of a command.
        meaning: its text for `--help`.
    """
    parser.add_argument(
        "--mixed",
        type=comparable.parse_mixed,
        default=(),
        metavar="FIELDS",
        help=meaning,
    )


def run(command: str, action: Callable[[], None]) -> int:
    """Does what a command is for; prints an error of its input as one line.

    Args:
        command: name of the command.
        action: what it does.

    Returns:
        The exit code.
    """
    try:
        action()
    except (
        errors.ResultsError,
        records.RecordError,
        fit_errors.FitError,
        DataError,
        OptionError,
        OSError,
    ) as error:
        print(f"clinometer {command}: {error}", file=sys.stderr)
        if isinstance(error, errors.ResultsError):
            return exit_codes.USAGE
        return exit_codes.of_error(error)
    return exit_codes.DONE
