"""The table of several fine-tunings: scores with their errors, and what differs."""

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
# Standard errors by which two scores must lie apart to be called different.
_APART = 2.0


def write(workdir: pathlib.Path, folders: Sequence[pathlib.Path]) -> str:
    """Writes WORKDIR/summary.json of the runs' scores; returns the table as text."""
    summary = summarise(
        [run_directory.RunDirectory(folder).record(*_NEEDED) for folder in folders]
    )
    path = workdir / FILE_NAME
    json_file.write(path, summary)
    return f"{table(summary)}\nwritten to {path}"


def summarise(runs: Sequence[run_record.Record]) -> list[dict[str, Any]]:
    """Groups runs that differ by their seed only.

    Args:
        runs: records of fine-tunings.

    Returns:
        One entry a group: `pretraining_step` (None from scratch), `learning_rate`,
        `seeds`, and for each task `score` (the mean over seeds of the best step's, in
        percent), `standard_error` (the larger of that of the evaluation set and that
        between seeds), `examples_error` and `seeds_error`, the two of them. An error
        that nobody knows is None, with the reason as `no_examples_error`; so is the
        score of a task that a run of the group has none of, as `no_score`.
    """
    groups: dict[tuple[Any, ...], list[run_record.Record]] = {}
    for run in runs:
        step = run.initial.step if run.initial else None
        key = (step, run.config.schedule.learning_rate)
        groups.setdefault(key, []).append(run)
    summary = []
    for (step, learning_rate), members in groups.items():
        # The log has no score that is not finite, and a run without any no tasks.
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
            "no_score": "no step's score is a finite number: "
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
        entry["no_examples_error"] = "the evaluation set's score has none"
    return entry


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries lie further apart than their errors explain."""
    errors = [one["standard_error"], other["standard_error"]]
    if None in errors:
        return False
    return abs(one["score"] - other["score"]) > _APART * math.hypot(*errors)


def _score_or_least(entry: Mapping[str, Any]) -> float:
    return -math.inf if entry["score"] is None else entry["score"]


def _start(step: int | None) -> str:
    return "from scratch" if step is None else f"step {step}"


def table(summary: Sequence[Mapping[str, Any]]) -> str:
    """Returns the scores as text; below, which groups differ from the best."""
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
            f"< worse than the best of its row by more than {_APART:g} standard errors "
            "of the difference; no other difference is one"
        )
    for head, entry in zip(heads, summary, strict=True):
        for name, found in entry["tasks"].items():
            if found["score"] is None:
                lines.append(f"{name}, {head}: {found['no_score']}")
    lines.append("percent, at each task's best step; +- is one standard error")
    return "\n".join(lines)
