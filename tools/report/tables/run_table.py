"""Tables of runs and of their loss curves."""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any

import numpy as np

from clinometer.tools.report import selection
from clinometer.tools.report import theme
from clinometer.tools.report.tables import model_table
from clinometer.tools.report.tables import sources as sources_lib

_POINTS = 40  # Of a curve.
_CHECKS = 8  # Validation losses of a curve.
_MOST_CURVES = 24  # Above it, one run of each model is drawn, and those that failed.


def make(
    sources: sources_lib.Sources, models: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Returns the runs that belong to a model, in the order of the table of runs.

    Columns: id, key (of its model), arch, label, size, status; loss, None if it is in
    no fit; training_flops; residual, its loss less its model's mean; spread, the
    interquartile range of its speed over the median, and noisy; flag, what is wrong
    with it, or empty.

    Args:
        sources: what was read.
        models: from `model_table.make`.
    """
    key_of = model_table.of_run(sources.rows)
    looks = theme.looks(row["architecture"] for row in sources.rows)
    mean = {model["key"]: model["loss"] for model in models}
    made = []
    for row in sources.rows:
        if row["run"] not in key_of:
            continue
        why = selection.why_left_out(row, sources.rows)
        key = key_of[row["run"]]
        loss = None if why else row["validation_loss_nats"]
        median, iqr = row["steps_per_second_median"], row["steps_per_second_iqr"]
        flags = [why] if why else []
        flags += [row["error"]] if row["error"] else []
        flags += ["speed is noisy"] if row["speed_noisy"] else []
        made.append(
            {
                "id": row["run"],
                "key": key,
                "arch": row["architecture"],
                "label": looks[row["architecture"]].label,
                "size": row["size"],
                "status": row["status"],
                "loss": loss,
                "training_flops": row["training_flops"],
                "residual": None if loss is None else loss - mean[key],
                "spread": None if iqr is None or not median else iqr / median,
                "noisy": int(bool(row["speed_noisy"])),
                "flag": "; ".join(flags),
            }
        )
    return made


def drawn_curves(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Returns the runs whose curves are drawn: all, or one of each model and failures.

    Args:
        runs: from `make`.
    """
    if len(runs) <= _MOST_CURVES:
        return {run["id"] for run in runs}
    first = {run["key"]: run["id"] for run in reversed(runs) if run["loss"] is not None}
    failed = {run["id"] for run in runs if run["status"] == "failed"}
    return {*first.values(), *failed}


def curves(
    sources: sources_lib.Sources, runs: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns points of training losses, and of validation losses, of the drawn runs.

    Columns: id, key, arch, size, step, loss (nats per token); of the training losses,
    too: failed, and last, 1 at a curve's end. Training losses are averaged over parts
    of equal length on a logarithmic axis of steps.

    Args:
        sources: what was read.
        runs: from `make`.
    """
    drawn = drawn_curves(runs)
    losses, checks = [], []
    for run in runs:
        if run["id"] not in drawn:
            continue
        lines = sources.metrics[run["id"]]
        same = {name: run[name] for name in ("id", "key", "arch", "size")}
        points = _thinned(_values(lines, "train/loss"))
        for i, (step, loss) in enumerate(points):
            failed, last = run["status"] == "failed", i == len(points) - 1
            own = {"step": step, "loss": loss, "failed": int(failed), "last": int(last)}
            losses.append(same | own)
        found = _values(lines, "validation/loss")
        kept = found[:: -(-len(found) // _CHECKS) or 1]
        kept += found[-1:] if found and kept[-1] != found[-1] else []
        checks += [same | {"step": step, "loss": loss} for step, loss in kept]
    return losses, checks


def _values(lines: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """Returns the (step, value) pairs of a metric where it is finite."""
    return [
        (line["step"], float(line[key]))
        for line in lines
        if isinstance(line.get(key), int | float)
        and math.isfinite(line[key])
        and line["step"] > 0
    ]


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Averages a curve over parts that are equal on a logarithmic axis."""
    if len(points) <= _POINTS:
        return list(points)
    steps = np.array([step for step, _ in points], np.float64)
    losses = np.array([loss for _, loss in points])
    edges = np.geomspace(steps[0], steps[-1], _POINTS)[1:-1]
    part = np.searchsorted(edges, steps)
    return [
        (int(steps[part == i][-1]), float(losses[part == i].mean()))
        for i in np.unique(part)
    ]
