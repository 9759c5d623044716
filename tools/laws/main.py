"""Implements `clinometer laws`: fits all laws to runs or to a file of results."""

import argparse
import sys

from clinometer.data import paths
from clinometer.kernels.options import outputs
from clinometer.tools.report import formats
from clinometer.tools.results import command
from clinometer.tools.results import errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory

_DESCRIPTION = """\
Fits the papers' slopes and laws to the runs of a folder or to a CSV file of results,
asks each law for the size it was not shown, finds the Pareto frontiers and judges the
claims of the papers. Prints the main ones, and writes all as CSV tables with --out.
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer laws",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=outputs.given,
        help="folder of runs or of imported results, or a CSV file",
    )
    chosen.add_argument(
        "--published",
        action="store_true",
        help="use Table 4 of Tay et al. 2021, and check what its text says of it",
    )
    parser.add_argument("--out", type=outputs.given, help="folder for the CSV tables")
    parser.add_argument(
        "--score",
        type=outputs.given,
        metavar="TASK",
        help="the task or average that is the downstream quality (default: superglue, "
        "avg, or the report's)",
    )
    command.add_mixed(parser, "comma-separated columns in which the runs may differ")
    options = parser.parse_args(argv)
    return command.run("laws", lambda: _fit(options))


def _fit(options: argparse.Namespace) -> None:
    # Imported here because they load pandas, which --help does not need.
    from clinometer.tools.laws import summary
    from clinometer.tools.laws import tables
    from clinometer.tools.laws import text_checks
    from clinometer.tools.results import columns
    from clinometer.tools.results import frame as frame_lib
    from clinometer.tools.results import published

    if options.out:
        run_directory.check("--out", options.out)
    if options.published:
        frame = published.of_table(4)
    else:
        frame = frame_lib.read(options.path, options.mixed)
    known = columns.tasks(frame.columns)
    if options.score and options.score not in known:
        raise errors.ResultsError(
            f"--score: no run has a score of {options.score!r}; accepted: "
            f"{', '.join(known) or 'none, since no run was scored'}"
        )
    score = f"score_{options.score}" if options.score else None
    laws = summary.of_frame(frame, score, options.mixed)
    checks = text_checks.of_table() if options.published else []
    made = tables.of_laws(laws)
    if checks:
        made["text_checks.csv"] = tables.write(tables.text_rows(checks))
    written = []
    if options.out:
        folder = paths.parse(options.out)
        paths.make_folder(folder)
        for name, text in made.items():
            paths.write_text(folder / name, text)
            written.append(str(folder / name))
    print("\n".join([*render(laws, checks), *written]))


def render(laws, checks=()) -> list[str]:
    """Returns the main results of a `summary.Laws` as lines."""
    lines = ["Slopes (U: nats, D: fraction; per tenfold F or P, U,D per nat)"]
    for one in laws.alphas:
        told = one.reason or ""
        if one.slope is not None:
            told = formats.signed(one.slope)
            if one.low is not None:
                reach = formats.interval(one.low, one.high)
                told += f" ({reach}, of {one.interval_of})"
        lines.append(f"  {one.architecture} {one.pair}: {told}")
    if laws.other_lengths:
        lines.append(
            f"  {len(laws.other_lengths)} runs of other lengths enter the law of size "
            "and data only"
        )
    lines.append("Error on the size that was left out, predicted less observed")
    for one in laws.left_out:
        told = one.reason if one.error is None else formats.signed(one.error, 4)
        lines.append(
            f"  {one.architecture}, {one.law}, {one.target} by {one.x}: {told}"
        )
    off = [one.runs[0] for one in laws.efficient if not one.efficient]
    if laws.efficient:
        lines.append(
            "On no downstream frontier (rule of Tay et al. 2021): "
            + (", ".join(off) or "none")
        )
    lines.append("Claims of the papers")
    lines += [f"  {one.told}" for one in laws.claims]
    if checks:
        lines.append("Statements of the text against its own Table 4")
    for one in checks:
        verdict = "holds" if one.holds else "does not hold"
        lines.append(
            f"  {one.statement}: {one.computed:.3f} of the computed, "
            f"{one.printed:.3f} of the printed; {verdict}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
