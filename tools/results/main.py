"""Implements `clinometer import-results`: brings in results that others measured."""

import argparse
import pathlib
import sys

from clinometer.data import paths
from clinometer.kernels.options import outputs
from clinometer.tools.results import command
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory

_DESCRIPTION = """\
Checks a CSV file of results and writes it to OUT/imported/, from where `recommend`
and `report` read it beside any runs in OUT. Each line is a run; missing values are
empty. Numbers are in the units given here, in full (61000000, not 61M).
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer import-results",
        description=_DESCRIPTION,
        epilog="`--columns` lists the accepted columns with their units.\n"
        + exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "file", metavar="FILE.csv", nargs="?", type=outputs.given, help="the file"
    )
    given.add_argument(
        "--columns", action="store_true", help="list the accepted columns and stop"
    )
    given.add_argument(
        "--published",
        action="store_true",
        help="import the published rows of Tay et al. 2021 that ship with Clinometer",
    )
    parser.add_argument(
        "--out",
        type=outputs.given,
        default="results",
        help="folder for the results, which may hold runs (default: results)",
    )
    command.add_mixed(
        parser,
        "comma-separated columns in which rows with a loss may differ, such as "
        "corpus_hash; by default a file that mixes texts or vocabularies is refused",
    )
    options = parser.parse_args(argv)
    return command.run("import-results", lambda: _import(options))


def _import(options: argparse.Namespace) -> None:
    # Imported here because they load pandas, which --help does not need.
    from clinometer.tools.results import columns
    from clinometer.tools.results import csv_file
    from clinometer.tools.results import frame as frame_lib
    from clinometer.tools.results import published

    if options.columns:
        print(columns.table())
        return
    source = published.FILE if options.published else paths.parse(options.file)
    run_directory.check("--out", options.out)
    found = csv_file.read(source, options.mixed)
    folder = paths.parse(options.out) / frame_lib.IMPORTED
    paths.make_folder(folder)
    target = folder / f"{pathlib.PurePosixPath(str(source)).stem}.csv"
    paths.write_text(target, csv_file.write(found))
    print(
        f"{target}: {len(found)} runs of {found['architecture'].nunique()} "
        "architectures"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
