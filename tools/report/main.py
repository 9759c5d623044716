"""Implements `clinometer report`: writes the report of a folder of runs."""

import argparse
import pathlib
import sys

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.kernels.bench import records as bench_records
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors
from clinometer.tools.report import records
from clinometer.tools.results import errors as results_errors
from clinometer.tools.study import errors as study_errors
from clinometer.tools.study.claims import errors as claims_errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory

_PORT = 8765  # Of --serve.


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer report",
        description="Writes report.html (a self-contained page), runs.csv (one row per "
        "run), data/*.csv (what figures draw from), laws/*.csv (slopes, laws and their "
        "held-out errors) and figures/* (each as SVG, PNG and PDF) from the run "
        "directories of a study, finished or not, and downstream.csv if runs were "
        "fine-tuned. The same runs always give the same bytes. Claims: if the runs "
        "were made for a file of claims, its verdicts lead the page and are printed. "
        "The file, DIR/claims.py, is Python code, which is run if its hash is the one "
        "in the runs' records; so report a folder from another machine only if you "
        "would run its code.",
        epilog=exit_codes.described(),
    )
    parser.add_argument(
        "directory",
        type=outputs.given,
        metavar="DIR",
        help="a study (with a folder runs/), any folder of run directories, one run, "
        "a CSV file of results (see `clinometer import-results --columns`) or a folder "
        "with imported ones, or a file of `clinometer bench --out`",
    )
    parser.add_argument(
        "--out",
        type=outputs.given,
        help="folder for the report (default: DIR; of FILE.csv: FILE)",
    )
    parser.add_argument(
        "--overlay",
        action="append",
        default=[],
        type=outputs.given,
        metavar="FILE.csv",
        help="show these results of others, too, marked as such and in no fit of the "
        "runs; `published` for the rows of Tay et al. 2021 that ship with Clinometer; "
        "may be repeated. Files that `clinometer import-results` wrote to DIR are "
        "shown without it",
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
    parser.add_argument(
        "--serve",
        type=_port,
        nargs="?",
        const=_PORT,
        metavar="PORT",
        help="write nothing; show the page at http://127.0.0.1:PORT, to this machine "
        f"only, and again as runs move, until interrupted (default port: {_PORT}; 0: "
        "any free one)",
    )
    options = parser.parse_args(argv)
    if options.serve is not None and (options.out or options.parquet):
        parser.error("--serve writes nothing, so it takes neither --out nor --parquet")
    try:
        # Imported here because it loads the models, which --help does not need.
        from clinometer.tools.report import build
        from clinometer.tools.report import data_files

        if options.parquet:
            data_files.check_parquet()
        if options.serve is not None:
            return _serve(options)
        if _has_no_runs(options.directory):
            return _imported(options)
        if pathlib.Path(options.directory).is_file():
            return _bench(options)
        out = options.out or options.directory
        run_directory.check("--out" if options.out else "DIR", out)
        report = build.build(
            paths.parse(options.directory),
            paths.parse(out),
            options.mixed,
            options.parquet,
            options.overlay,
        )
    except results_errors.ResultsError as error:
        print(f"clinometer report: {error}", file=sys.stderr)
        return exit_codes.USAGE
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


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; accepted: an integer from 0 to 65535"
        )
    return int(text)


def _has_no_runs(directory: str) -> bool:
    """Returns whether it is a CSV file, or a folder with imported files alone."""
    from clinometer.tools.results import frame

    path = paths.parse(directory)
    if paths.is_file(path):
        return path.suffix == ".csv"
    return paths.is_folder(path / frame.IMPORTED) and not frame.has_runs(path)


def _imported(options: argparse.Namespace) -> int:
    """Writes the page of results of others alone.

    Raises:
        ResultsError: a file cannot be used.
        OSError: a file cannot be written.
    """
    from clinometer.tools.report import imported_page
    from clinometer.tools.report import others

    path = paths.parse(options.directory)
    is_file = paths.is_file(path)
    out = paths.parse(options.out) if options.out else path
    if is_file and not options.out:
        out = path.with_suffix("")
    run_directory.check("--out" if options.out else "DIR", str(out))
    first = [options.directory] if is_file else []
    folder = None if is_file else path
    sources = others.read(folder, [*first, *options.overlay], options.mixed)
    print(imported_page.write(sources, out, options.parquet))
    return exit_codes.DONE


def _bench(options: argparse.Namespace) -> int:
    """Writes the page of a benchmark's file, and its figure and data, beside it.

    Raises:
        OptionError: it is no such file.
        OSError: a file cannot be written.
    """
    from clinometer.tools.report import bench_page

    path = pathlib.Path(options.directory)
    try:
        records_ = bench_records.read(str(path))
    except ValueError as error:
        raise OptionError(str(error)) from error
    folder = paths.parse(options.out or path.parent)
    html, drawn = bench_page.render(records_)
    paths.make_folder(folder)
    for form, contents in drawn.files().items():
        paths.write_bytes(folder / f"{path.stem}.{form}", contents)
    paths.write_text(folder / f"{path.stem}.csv", bench_page.csv(records_))
    paths.write_text(folder / f"{path.stem}.html", html)
    print(folder / f"{path.stem}.html")
    return exit_codes.DONE


def _serve(options: argparse.Namespace) -> int:
    """Shows the live page until it is interrupted.

    Raises:
        OptionError: the folder is in an object store.
        RecordError: it has no runs, and the like.
        OSError: the port is taken.
    """
    from clinometer.tools.report import build
    from clinometer.tools.report import serving

    if paths.is_remote(options.directory):
        raise OptionError(
            "--serve: needs a folder of this machine, not an object store"
        )
    directory = pathlib.Path(options.directory)
    given = options.mixed, options.overlay
    build.read(directory, *given)  # So that what is wrong with it is told now.
    pages = serving.Pages(directory, lambda: build.page(directory, *given))
    with serving.create(pages, options.serve) as server:
        print(f"http://{serving.HOST}:{server.server_address[1]}/", flush=True)
        server.serve_forever()
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
