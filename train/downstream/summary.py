"""Summary of several fine-tunings: scores with standard errors, as a table."""

from collections.abc import Mapping
from collections.abc import Sequence
import math
import pathlib
import statistics
from typing import Any

from clinometer.kernels import terminal
from clinometer.train.downstream import standard_error
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record

FILE_NAME = "summary.json"
_NEEDED = ("initial", "config.schedule.learning_rate", "data.tasks", "downstream")
# Two scores are called different if they are this many standard errors apart.
_APART = 2.0


def write(workdir: pathlib.Path, folders: Sequence[pathlib.Path]) -> str:
    """Writes the summary of fine-tunings to WORKDIR/summary.json.

    Args:
        workdir: folder of the summary.
        folders: run directories of the fine-tunings.

    Returns:
        The summary as a table.

    Raises:
        RunError: a record cannot be read, or has no fine-tuning scores.
    """
    summary = summarise(
        [run_directory.RunDirectory(folder).record(*_NEEDED) for folder in folders]
    )
    path = workdir / FILE_NAME
    json_file.write(path, summary)
    return f"{table(summary)}\nsummary written to {path}"


def summarise(runs: Sequence[run_record.Record]) -> list[dict[str, Any]]:
    """Groups runs that differ only in their seed.

    Args:
        runs: records of fine-tunings.

    Returns:
        One entry per group, with `pretraining_step` (None from scratch),
        `learning_rate`, `seeds` and `tasks`. Each task has the `score` in percent at
        the best step, as a mean over seeds, and its `standard_error`, which is the
        larger of `examples_error` (from the finite evaluation set) and `seeds_error`
        (of the mean over seeds). If the former is unknown, it is None and
        `no_examples_error` gives the reason. If a run of the group has no score for the
        task, `score` is None and `no_score` gives the reason.
    """
    groups: dict[tuple[Any, ...], list[run_record.Record]] = {}
    for run in runs:
        step = run.initial.step if run.initial else None
        key = (step, run.config.schedule.learning_rate)
        groups.setdefault(key, []).append(run)
    summary = []
    for (step, learning_rate), members in groups.items():
        # Scores that are not finite are not in the log; without scores, a run has no
        # tasks in its record.
        found = [run.downstream.tasks if run.downstream else {} for run in members]
        summary.append(
            {
                "pretraining_step": step,
                "learning_rate": learning_rate,
                "seeds": [run.seed for run in members],
                "tasks": {
                    name: _entry([tasks.get(name) for tasks in found])
                    for name in members[0].data.tasks or {}
                },
            }
        )
    return summary


def _entry(found: Sequence[run_record.TaskScore | None]) -> dict[str, Any]:
    scored = [entry for entry in found if entry is not None]
    if len(scored) < len(found):
        return {
            "score": None,
            "standard_error": None,
            "no_score": "no finite score at any step in "
            f"{len(found) - len(scored)} of {len(found)} runs",
        }
    return _of_scored(scored)


def _of_scored(found: Sequence[run_record.TaskScore]) -> dict[str, Any]:
    values = [entry.best for entry in found]
    error = standard_error.of_mean(values, [entry.standard_error for entry in found])
    entry = {
        "score": statistics.fmean(values),
        "standard_error": error.total,
        "examples_error": error.examples,
        "seeds_error": error.seeds or 0.0,
        "best_steps": [entry.best_step for entry in found],
    }
    if error.examples is None:
        entry["no_examples_error"] = "the task's score has no standard error"
    return entry


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two scores differ by more than their standard errors explain.

    Args:
        one: an entry of a task, see `summarise`.
        other: an entry of the same task in another group.
    """
    errors = [one["standard_error"], other["standard_error"]]
    if None in errors:
        return False
    return abs(one["score"] - other["score"]) > _APART * math.hypot(*errors)


def _score_or_least(entry: Mapping[str, Any]) -> float:
    return -math.inf if entry["score"] is None else entry["score"]


def _start(step: int | None) -> str:
    return "from scratch" if step is None else f"step {step}"


def table(summary: Sequence[Mapping[str, Any]]) -> str:
    """Formats a summary as a table, marking scores that are worse than the best.

    Args:
        summary: from `summarise`.
    """
    heads = [
        f"{_start(entry['pretraining_step'])}, lr {entry['learning_rate']:g}"
        + (f", {len(entry['seeds'])} seeds" if len(entry["seeds"]) > 1 else "")
        for entry in summary
    ]
    rows = []
    for name in summary[0]["tasks"]:
        entries = [entry["tasks"][name] for entry in summary]
        best = max(entries, key=_score_or_least)
        cells = [name]
        for entry in entries:
            mark = " <" if different(entry, best) else "  "
            error = entry["standard_error"]
            known = "-" if error is None else f"{error:.1f}"
            score = entry["score"]
            text = "-" if score is None else f"{score:.1f} +- {known}"
            cells.append(f"{text:>22}{mark}")
        rows.append(cells)
    lines = terminal.table(
        rows,
        ["", *(f"{head:>24}" for head in heads)],
        left=range(len(heads) + 1),
    )
    if len(summary) > 1:
        lines.append(
            f"< more than {_APART:g} standard errors of the difference below the best "
            "score in the row; the other differences are not significant"
        )
    for head, entry in zip(heads, summary, strict=True):
        for name, found in entry["tasks"].items():
            if found["score"] is None:
                lines.append(f"{name}, {head}: {found['no_score']}")
    lines.append("in percent, at each task's best step; +- is one standard error")
    return "\n".join(lines)
