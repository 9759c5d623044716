"""Options of commands that compile: how many compilers run, and for how long."""

import argparse

from clinometer.kernels.options import ranges


def add(parser: argparse.ArgumentParser, seconds: int, timeout_help: str) -> None:
    """Adds `--jobs` and `--timeout`.

    Args:
        parser: the parser of a command.
        seconds: default of `--timeout`.
        timeout_help: what it limits, for `--help`.
    """
    parser.add_argument(
        "--jobs",
        type=ranges.Whole(1),
        default=1,
        metavar="N",
        help="number of compilers at a time, which need 1 to 4 GiB each (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=ranges.Whole(1),
        default=seconds,
        metavar="SECONDS",
        help=f"{timeout_help} (default: %(default)s)",
    )
