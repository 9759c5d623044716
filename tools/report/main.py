"""Implements `clinometer report`: writes the report of a folder of runs."""

import argparse
import sys

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors
from clinometer.tools.report import records
from clinometer.tools.study import errors as study_errors
from clinometer.tools.study.claims import errors as claims_errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer report",
        description="Writes report.html (a self-contained page), runs.csv (one row per "
        "run), data/*.csv (what figures draw from) and figures/* (each as SVG, PNG and "
        "PDF) from the run directories of a study, finished or not, and "
        "downstream.csv if runs were fine-tuned. The same runs always give the same "
        "bytes. Claims: if the runs were made for a file of claims, its verdicts lead "
        "the page and are printed. The file, DIR/claims.py, is Python code, which is "
        "run if its hash is the one in the runs' records; so report a folder from "
        "another machine only if you would run its code.",
        epilog=exit_codes.described(),
    )
    parser.add_argument(
        "directory",
        type=outputs.given,
        metavar="DIR",
        help="a study (with a folder runs/), any folder of run directories, or one run",
    )
    parser.add_argument(
        "--out", type=outputs.given, help="folder for the report (default: DIR)"
    )
    parser.add_argument(
        "--mixed",
        type=comparable.parse_mixed,
        default=(),
        metavar="FIELDS",
        help="comma-separated columns of runs.csv in which the runs of a fit may "
        "differ, such as learning_rate or device_kind; by default runs that differ in "
        "a condition are refused, and those of several devices are not fitted "
        "against time",
    )
    parser.add_argument(
        "--parquet",
        action="store_true",
        help="write the tables as Parquet, too; needs the extra clinometer[parquet]",
    )
    options = parser.parse_args(argv)
    try:
        # Imported here because it loads the models, which --help does not need.
        from clinometer.tools.report import build
        from clinometer.tools.report import data_files

        if options.parquet:
            data_files.check_parquet()
        out = options.out or options.directory
        run_directory.check("--out" if options.out else "DIR", out)
        report = build.build(
            paths.parse(options.directory),
            paths.parse(out),
            options.mixed,
            options.parquet,
        )
    except (
        records.RecordError,
        errors.FitError,
        claims_errors.ClaimsError,
        study_errors.StudyError,
        DataError,
        OptionError,
        OSError,
    ) as error:
        print(f"clinometer report: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    for judged in report.claims:
        print(judged.told)
    print(f"{report.table}\n{report.page}")
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
