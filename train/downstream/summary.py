"""Summary of several fine-tunings: scores with their errors, as a table."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from clinometer.data import paths
from clinometer.kernels import terminal
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import crossed
from clinometer.train.downstream import item_scores
from clinometer.train.downstream import likelihood
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record

FILE_NAME = "summary.json"
_NEEDED = ("initial", "config.schedule.learning_rate", "data.tasks", "downstream")


@dataclasses.dataclass(frozen=True)
class Finetuning:
    """A fine-tuning with its scores.

    Attributes:
        record: its record.
        scores: its scores, without tasks that have no finite score.
    """

    record: run_record.Record
    scores: Mapping[best_scores.Name, best_scores.BestScore]


def read(folder: paths.AnyPath) -> Finetuning:
    """Reads a fine-tuning.

    Args:
        folder: its run directory.

    Raises:
        RunError: the record or the items cannot be read, or it has no scores.
    """
    directory = run_directory.RunDirectory(folder)
    record = directory.record(*_NEEDED)
    return Finetuning(record, best_scores.read(directory, record))


def write(workdir: paths.AnyPath, folders: Sequence[paths.AnyPath]) -> str:
    """Writes the summary of fine-tunings to WORKDIR/summary.json.

    Args:
        workdir: folder of the summary.
        folders: run directories of the fine-tunings.

    Returns:
        The summary as a table.

    Raises:
        RunError: a record cannot be read, or has no fine-tuning scores.
    """
    summary = summarise([read(folder) for folder in folders])
    path = workdir / FILE_NAME
    json_file.write(path, summary)
    return f"{table(summary)}\nsummary written to {path}"


def summarise(runs: Sequence[Finetuning]) -> list[dict[str, Any]]:
    """Groups runs that differ only in their seed.

    Args:
        runs: the fine-tunings of one command.

    Returns:
        One entry per group, with `pretraining_step` (None from scratch),
        `learning_rate`, `seeds` and `tasks`. Each task has the `score` in percent at
        the best step, as a mean over seeds; its 95 % `interval` over other seeds and
        other examples; `examples_interval`, that over other examples for these trained
        models only; `unknown`, what of its error is unknown, if anything; and
        `below_best`, whether the 95 % interval of its difference from the task's best
        group lies below 0, or None if that is unknown. If a run of the group has no
        score for the task, `score` is None and `no_score` gives the reason. The task's
        `likelihood` has the same fields for the likelihood of the right answer at the
        same steps; it is None unless all runs of the group have it.
    """
    groups: dict[tuple[Any, ...], list[Finetuning]] = {}
    for run in runs:
        step = run.record.initial.step if run.record.initial else None
        key = (step, run.record.config.schedule.learning_rate)
        groups.setdefault(key, []).append(run)
    tasks = {
        key: list(members[0].record.data.tasks or {}) for key, members in groups.items()
    }
    entries = {
        (key, name): _entry([run.scores.get(name) for run in members])
        for key, members in groups.items()
        for task in tasks[key]
        for name in (best_scores.Name(task, metric) for metric in best_scores.METRICS)
    }
    for name in dict.fromkeys(name for _, name in entries):
        cells = {
            key: _cell(name, members)
            for key, members in groups.items()
            if entries.get((key, name), {}).get("score") is not None
        }
        if not cells:
            continue
        best = max(cells, key=lambda key: entries[key, name]["score"])
        for key, cell in cells.items():
            entries[key, name] |= _errors(cell, entries[key, name])
            entries[key, name]["below_best"] = (
                False if key == best else _is_below(cell, cells[best])
            )
    return [
        {
            "pretraining_step": key[0],
            "learning_rate": key[1],
            "seeds": [run.record.seed for run in members],
            "tasks": {
                task: {
                    **entries[key, best_scores.Name(task)],
                    likelihood.METRIC: _scored(
                        entries[key, best_scores.Name(task, likelihood.METRIC)]
                    ),
                }
                for task in tasks[key]
            },
        }
        for key, members in groups.items()
    ]


def _scored(entry: dict[str, Any]) -> dict[str, Any] | None:
    return None if entry["score"] is None else entry


def _entry(found: Sequence[best_scores.BestScore | None]) -> dict[str, Any]:
    scored = [entry for entry in found if entry is not None]
    if len(scored) < len(found):
        return {
            "score": None,
            "no_score": "no finite score at any step in "
            f"{len(found) - len(scored)} of {len(found)} runs",
        }
    interval = scored[0].interval if len(scored) == 1 else None
    return {
        "score": math.fsum(entry.value for entry in scored) / len(scored),
        "examples_interval": interval and list(interval),
        "best_steps": [entry.step for entry in scored],
    }


def _cell(name: best_scores.Name, members: Sequence[Finetuning]) -> crossed.Cell:
    found = [run.scores[name] for run in members]
    return item_scores.cell(
        name.task, [score.value for score in found], [score.items for score in found]
    )


def _errors(cell: crossed.Cell, entry: Mapping[str, Any]) -> dict[str, Any]:
    estimate = crossed.mean(cell)
    of_examples = entry["examples_interval"] or estimate.items_interval
    return {
        "interval": estimate.interval and list(estimate.interval),
        "examples_interval": of_examples and list(of_examples),
        "unknown": estimate.unknown,
    }


def _is_below(cell: crossed.Cell, best: crossed.Cell) -> bool | None:
    """Returns whether a mean is below the best one; None if unknown."""
    if cell.items != best.items:
        return None
    interval = crossed.difference(cell, best).interval
    return None if interval is None else interval[1] < 0


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
    columns = [_by_name(entry["tasks"]) for entry in summary]
    rows = [
        [str(name), *(f"{_text(column.get(name)):>24}" for column in columns)]
        for task in summary[0]["tasks"]
        for name in (best_scores.Name(task, metric) for metric in best_scores.METRICS)
        if any(name in column for column in columns)
    ]
    lines = terminal.table(
        rows,
        ["", *(f"{head:>24}" for head in heads)],
        left=range(len(heads) + 1),
    )
    found = [(name, entry) for column in columns for name, entry in column.items()]
    notes = ["in percent, at each task's best step"]
    if any(name.metric == likelihood.METRIC for name, _ in found):
        notes.append(likelihood.EXPLANATION)
    if any(len(entry["seeds"]) > 1 for entry in summary):
        notes.append("[a, b]: 95 % interval over other seeds and other examples")
    if any(len(entry["seeds"]) == 1 for entry in summary):
        notes.append(
            "(a, b): 95 % interval over other examples for one trained model; "
            f"{crossed.UNKNOWN_SEEDS}"
        )
    if any(entry.get("below_best") for _, entry in found):
        notes.append(
            "<: below the best score in the row, by the 95 % interval of the "
            "difference, paired by example and not adjusted for the number of columns"
        )
    for head, column in zip(heads, columns, strict=True):
        for name, entry in column.items():
            reason = entry.get("no_score") or entry.get("unknown")
            if reason and reason != crossed.UNKNOWN_SEEDS:
                notes.append(f"{name}, {head}: {reason}")
    return "\n".join([*lines, *notes])


def _by_name(
    tasks: Mapping[str, Mapping[str, Any]],
) -> dict[best_scores.Name, Mapping[str, Any]]:
    """Returns the entries of scores and likelihoods, each beside its task's other."""
    found = {}
    for task, entry in tasks.items():
        found[best_scores.Name(task)] = entry
        if entry[likelihood.METRIC] is not None:
            found[best_scores.Name(task, likelihood.METRIC)] = entry[likelihood.METRIC]
    return found


def _text(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["score"] is None:
        return "-  "
    shown = f"{entry['score']:.1f}"
    if entry["interval"] is not None:
        low, high = entry["interval"]
        shown += f" [{low:.1f}, {high:.1f}]"
    elif entry["examples_interval"] is not None:
        low, high = entry["examples_interval"]
        shown += f" ({low:.1f}, {high:.1f})"
    return shown + (" <" if entry["below_best"] else "  ")
