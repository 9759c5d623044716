"""The options `--rounds`, `--json` and `--out` of benchmarks."""

import argparse

from clinometer.kernels.options import ranges


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of a command."""
    parser.add_argument(
        "--rounds",
        type=ranges.Whole(2),
        default=7,
        metavar="N",
        help="number of samples of each form, at least 2 (default: 7)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the records as JSON; the tables go to standard error",
    )
    parser.add_argument("--out", metavar="FILE", help="write the records as JSON")
