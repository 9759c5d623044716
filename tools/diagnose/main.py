"""Implements `clinometer diagnose`: says what went wrong in runs, and what first."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import sys
from typing import Any

from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.diagnose import diagnosis
from clinometer.tools.diagnose import rates
from clinometer.tools.diagnose import telemetry
from clinometer.tools.runs import folders
from clinometer.tools.study import errors as study_errors
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file

_DESCRIPTION = """\
Reads the record and the log of runs, finished or not, and says what went wrong, in the
order in which it began: each finding with its step, the values, the limit with its
reason, and what to try. Of several runs, each gets a line.
"""
_EPILOG = f"""\
checks: {", ".join(diagnosis.NAMES)}.
What the telemetry of a run does not have is said, too. tools/README.md describes the
checks, and tools/diagnose/thresholds.py has all limits with their reasons.

{exit_codes.described({exit_codes.FAILED: "failed; or, with --check, something found"})}
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer diagnose",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=outputs.given_local,
        help="run directory, or folder of runs or of a study",
    )
    parser.add_argument(
        "--rates",
        type=outputs.given_local,
        metavar="FILE",
        help="table of tuned learning rates (default: rates.json of the study that the "
        "run is in, or the one that is shipped)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit with {exit_codes.FAILED} if something is found in a run",
    )
    arguments = parser.parse_args(argv)
    try:
        found = read([pathlib.Path(run) for run in arguments.runs], arguments.rates)
    except (OptionError, errors.RunError, study_errors.StudyError) as error:
        print(f"clinometer diagnose: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    if arguments.json:
        print(json_file.dumps(found, indent=1))
    else:
        print("\n".join(_one(found[0]) if len(found) == 1 else _several(found)))
    healthy = all(run["healthy"] for run in found)
    return exit_codes.FAILED if arguments.check and not healthy else exit_codes.DONE


def read(
    roots: Sequence[pathlib.Path], table: str | None = None
) -> list[dict[str, Any]]:
    """Returns the diagnoses of runs: what `--json` prints.

    Args:
        roots: run directories or folders of them. Runs of several are named by their
            paths.
        table: path of the table of tuned rates; None for that of the study, or the one
            that is shipped.

    Raises:
        OptionError: there is no such folder, or no run with a record in it.
        RunError: the only run cannot be read.
        StudyError: the table cannot be read.
    """
    found: list[dict[str, Any]] = []
    tables: dict[pathlib.Path, table_lib.Table] = {}
    runs = [(run, root) for root in roots for run in _runs(root)]
    for run, root in runs:
        path = pathlib.Path(table) if table is not None else rates.table_of(run)
        if path not in tables:
            tables[path] = table_lib.read(path)
        name = folders.name(run, root) if len(roots) == 1 else str(run)
        told = {"run": name, "path": str(run)}
        try:
            read_run = telemetry.read(run)
        except errors.RunError as error:
            if len(runs) == 1:
                raise
            unreadable = {"healthy": False, "findings": [], "error": str(error)}
            found.append({**told, "status": "unreadable", **unreadable})
            continue
        found.append(
            {
                **told,
                "model": read_run.record.model,
                "status": read_run.status,
                "step": read_run.step,
                "train_steps": read_run.train_steps,
                **diagnosis.diagnose(read_run, tables[path]).to_json(),
            }
        )
    return found


def _runs(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the runs to diagnose: a run alone, or all of a folder."""
    if run_directory.RunDirectory(root).has_record:
        return [root]
    runs = [
        run for run in folders.find(root) if run_directory.RunDirectory(run).has_record
    ]
    if not runs:
        raise OptionError(
            f"{root}: no run with a record found; accepted: a run directory, a folder "
            "with run directories, or the folder of a study"
        )
    return runs


def _one(run: Mapping[str, Any]) -> list[str]:
    """Returns the lines for one run, with all that is known."""
    findings = run["findings"]
    count = len(findings)
    verdict = f"{count} finding{'s' * (count > 1)}" if count else "healthy"
    lines = [f"{run['run']}: {run['model']}, {_progress(run)}: {verdict}"]
    for finding in findings:
        lines += ["", f"step {finding['step']}, {finding['check']}: {finding['what']}"]
        evidence = ", ".join(f"{k} {_value(v)}" for k, v in finding["evidence"].items())
        lines.append(f"  measured: {evidence}")
        if finding["threshold"] is not None:
            lines.append(f"  limit: {finding['threshold']}")
        lines.append(f"  try: {finding['advice']}")
    lines.append("")
    if run["checked"]:
        lines.append(f"checked, nothing found: {', '.join(run['checked'])}")
    if run["not_checked"]:
        lines.append("not checked:")
        lines += [f"  {name}: {why}" for name, why in run["not_checked"].items()]
    return lines


def _several(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a line for each run and the numbers of both kinds."""
    rows = []
    for run in runs:
        first, *more = run["findings"] or [None]
        if first is None:
            what = run.get("error") or (
                f"healthy by {len(run['checked'])} of {len(diagnosis.NAMES)} checks"
            )
        else:
            what = f"step {first['step']}, {first['check']}: {first['what']}"
            what += f" (and {len(more)} more)" if more else ""
        rows.append((run["run"], _progress(run), what))
    healthy = sum(run["healthy"] for run in runs)
    return [
        *terminal.table(rows, ("run", "status", "first finding"), left=(0, 1, 2)),
        f"{len(runs)} runs: {healthy} healthy, {len(runs) - healthy} not",
    ]


def _progress(run: Mapping[str, Any]) -> str:
    if "step" not in run:
        return run["status"]
    steps = "" if run["train_steps"] is None else f" of {run['train_steps']}"
    return f"{run['status']} at step {run['step']}{steps}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)
