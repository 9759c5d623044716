"""Summary of several fine-tunings: scores with their errors, as a table."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import pathlib
from typing import Any

from clinometer.kernels import terminal
from clinometer.train.downstream import crossed
from clinometer.train.downstream import item_scores
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record

FILE_NAME = "summary.json"
_NEEDED = ("initial", "config.schedule.learning_rate", "data.tasks", "downstream")


@dataclasses.dataclass(frozen=True)
class Finetuning:
    """A fine-tuning with the items of its scores.

    Attributes:
        record: its record.
        items: task -> the items of its best score; None if unknown.
    """

    record: run_record.Record
    items: Mapping[str, item_scores.ItemScores | None] = dataclasses.field(
        default_factory=dict
    )

    @property
    def tasks(self) -> Mapping[str, run_record.TaskScore]:
        """The scores by task, without tasks that have no finite score."""
        return self.record.downstream.tasks if self.record.downstream else {}


def read(folder: pathlib.Path) -> Finetuning:
    """Reads a fine-tuning.

    Args:
        folder: its run directory.

    Raises:
        RunError: the record or the items cannot be read, or it has no scores.
    """
    directory = run_directory.RunDirectory(folder)
    run = Finetuning(directory.record(*_NEEDED))
    items = {
        name: item_scores.of_run(directory, name, found.best_step, found.best)
        for name, found in run.tasks.items()
    }
    return dataclasses.replace(run, items=items)


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
        score for the task, `score` is None and `no_score` gives the reason.
    """
    groups: dict[tuple[Any, ...], list[Finetuning]] = {}
    for run in runs:
        step = run.record.initial.step if run.record.initial else None
        key = (step, run.record.config.schedule.learning_rate)
        groups.setdefault(key, []).append(run)
    names = {
        key: list(members[0].record.data.tasks or {}) for key, members in groups.items()
    }
    entries = {
        (key, name): _entry([run.tasks.get(name) for run in members])
        for key, members in groups.items()
        for name in names[key]
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
            "tasks": {name: entries[key, name] for name in names[key]},
        }
        for key, members in groups.items()
    ]


def _entry(found: Sequence[run_record.TaskScore | None]) -> dict[str, Any]:
    scored = [entry for entry in found if entry is not None]
    if len(scored) < len(found):
        return {
            "score": None,
            "no_score": "no finite score at any step in "
            f"{len(found) - len(scored)} of {len(found)} runs",
        }
    interval = scored[0].interval if len(scored) == 1 else None
    return {
        "score": math.fsum(entry.best for entry in scored) / len(scored),
        "examples_interval": interval and list(interval),
        "best_steps": [entry.best_step for entry in scored],
    }


def _cell(name: str, members: Sequence[Finetuning]) -> crossed.Cell:
    return item_scores.cell(
        name,
        [run.tasks[name].best for run in members],
        [run.items.get(name) for run in members],
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
    rows = [
        [name, *(f"{_text(entry['tasks'][name]):>24}" for entry in summary)]
        for name in summary[0]["tasks"]
    ]
    lines = terminal.table(
        rows,
        ["", *(f"{head:>24}" for head in heads)],
        left=range(len(heads) + 1),
    )
    notes = ["in percent, at each task's best step"]
    if any(len(entry["seeds"]) > 1 for entry in summary):
        notes.append("[a, b]: 95 % interval over other seeds and other examples")
    if any(len(entry["seeds"]) == 1 for entry in summary):
        notes.append(
            "(a, b): 95 % interval over other examples for one trained model; "
            f"{crossed.UNKNOWN_SEEDS}"
        )
    if any(
        found.get("below_best")
        for entry in summary
        for found in entry["tasks"].values()
    ):
        notes.append(
            "<: below the best score in the row, by the 95 % interval of the "
            "difference, paired by example and not adjusted for the number of columns"
        )
    for head, entry in zip(heads, summary, strict=True):
        for name, found in entry["tasks"].items():
            reason = found.get("no_score") or found.get("unknown")
            if reason and reason != crossed.UNKNOWN_SEEDS:
                notes.append(f"{name}, {head}: {reason}")
    return "\n".join([*lines, *notes])


def _text(entry: Mapping[str, Any]) -> str:
    if entry["score"] is None:
        return "-  "
    shown = f"{entry['score']:.1f}"
    if entry["interval"] is not None:
        low, high = entry["interval"]
        shown += f" [{low:.1f}, {high:.1f}]"
    elif entry["examples_interval"] is not None:
        low, high = entry["examples_interval"]
        shown += f" ({low:.1f}, {high:.1f})"
    return shown + (" <" if entry["below_best"] else "  ")
