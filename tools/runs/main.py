"""Implements `clinometer runs`: lists runs and compares configurations and results."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import sys
from typing import Any

from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.report import formats
from clinometer.tools.runs import differences
from clinometer.tools.runs import folders
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as record_lib

_DESCRIPTION = """\
Lists the runs of folders that have a record, with the fields of their configurations
that differ, their losses, scores and speed. Fine-tunings are compared with one another.
"""
_EPILOG = f"""\
Of fields that differ between the same runs, the table shows one. --json has all of
them, as an array of an object for each run.

{exit_codes.described()}
"""
_MOST_COLUMNS = 8  # Of fields that differ.


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer runs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders",
        metavar="DIR",
        nargs="+",
        type=outputs.given_local,
        help="folder of a study, or of runs, or a run directory",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        runs = read([pathlib.Path(folder) for folder in arguments.folders])
    except OptionError as error:
        print(f"clinometer runs: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    if arguments.json:
        print(json_file.dumps(runs, indent=1))
    else:
        print("\n".join(render(runs)))
    return exit_codes.DONE


def read(roots: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Returns the runs of folders: what `--json` prints.

    Args:
        roots: the folders. Runs of several are named by their paths.

    Raises:
        OptionError: there is no such folder, or no run with a record in it.
    """
    found: list[dict[str, Any]] = []
    configs: list[dict[str, Any]] = []
    for root in roots:
        before = len(found)
        for run in folders.find(root):
            directory = run_directory.RunDirectory(run)
            if not directory.has_record:
                continue
            name = folders.name(run, root) if len(roots) == 1 else str(run)
            try:
                record = directory.record()
            except errors.RunError as error:
                found.append({"run": name, "status": "unreadable", "error": str(error)})
                configs.append({})
                continue
            found.append({"run": name, "path": str(run), **_facts(record)})
            configs.append(
                {"model": record.model, **config_lib.flatten(record.config.to_json())}
            )
        if len(found) == before:
            raise OptionError(
                f"{root}: no run with a record found; accepted: the folder of a study, "
                "a folder with run directories, or a run directory"
            )
    for kind in record_lib.KINDS:
        places = [p for p, run in enumerate(found) if run.get("kind") == kind]
        fields = differences.differing([configs[place] for place in places])
        for number, place in enumerate(places):
            found[place]["config"] = {name: v[number] for name, v in fields.items()}
    return found


def render(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of a table for each kind of runs, and their notes.

    Args:
        runs: as from `read`.
    """
    lines: list[str] = []
    for kind in record_lib.KINDS:
        if mine := [run for run in runs if run.get("kind") == kind]:
            lines += ["", *_table(mine, kind)] if lines else _table(mine, kind)
    errors_of_runs = [(run["run"], run.get("error")) for run in runs]
    return [*lines, *(f"{name}: {error}" for name, error in errors_of_runs if error)]


def _table(runs: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    names = runs[0]["config"]
    fields = {name: tuple(run["config"][name] for run in runs) for name in names}
    groups = differences.grouped(fields)
    shown = list(groups)[:_MOST_COLUMNS]
    is_tuning = kind == record_lib.FINETUNING
    score = ["score"] if is_tuning else []
    head = ["run", "status", *shown, "step", "loss", "val. loss", *score, "steps/s"]
    rows = [
        [
            run["run"],
            run["status"],
            *(_value(run["config"][name]) for name in shown),
            str(run["step"]),
            formats.fixed(run["train_loss"], 4),
            formats.fixed(run["validation_loss"], 4),
            *([formats.fixed(run["score"], 1)] if is_tuning else []),
            formats.significant(run["steps_per_second"])
            + (" noisy" if run["speed_noisy"] else ""),
        ]
        for run in runs
    ]
    lines = terminal.table(rows, head, left=(0, 1))
    for name in shown:
        if same := groups[name]:
            lines.append(f"{name}: likewise {', '.join(same)}")
    if more := list(groups)[_MOST_COLUMNS:]:
        lines.append(f"not shown, see --json: {', '.join(more)}")
    return lines


def _facts(record: record_lib.Record) -> dict[str, Any]:
    tasks = record.downstream.tasks if record.downstream else {}
    scores = {name: task.best for name, task in sorted(tasks.items())}
    return {
        "kind": record.kind,
        "model": record.model,
        "status": "diverged" if record.diverged else record.status,
        "error": record.error,
        "step": record.metrics.step or 0,
        "train_steps": record.config.train_steps,
        "train_loss": record.metrics.train_loss,
        "validation_loss": record.metrics.validation_loss,
        "score": sum(scores.values()) / len(scores) if scores else None,
        "scores": scores,
        "steps_per_second": record.speed.steps_per_second_median,
        "speed_noisy": record.speed.noisy,
        "params_total": record.counts.params_total,
        "flops_train_step": record.counts.flops_train_step,
        "wall_seconds": record.wall_seconds.total,
        "started_at": record.started_at,
        "updated_at": record.updated_at,
    }


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
