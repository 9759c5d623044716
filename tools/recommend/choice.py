"""The architectures that the data cannot tell from the best at a budget.

A budget is one of `COSTS`. Each architecture's loss at it is read between its measured
sizes (`inference/equal_compute.py`), never beyond them. An architecture is out of the
set if another one is better by more than its simultaneous 95 % interval, taken over all
pairs, so that the set holds the best of them in 95 % of studies. Where the runs are a
study the errors are those of its fitted model; else those of independent means. Where
the error between runs is unknown, nothing can be told apart, and the set holds them
all. A size's time or speed is the mean over those of its runs whose speed was not
disturbed, and its own error is left out.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import itertools
import math
import statistics
from typing import Any

import numpy as np
import pandas as pd

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import simultaneous
from clinometer.tools.laws import points as points_lib
from clinometer.tools.report import study_fit
from clinometer.tools.results import errors
from clinometer.tools.results import table

_SIZES = 3  # That a reading between sizes needs.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a budget is of.

    Attributes:
        column: its column in a frame of runs.
        words: its name and unit, as in "at 1e15 training FLOPs".
        is_rate: whether it is a speed, whose inverse is the cost.
        is_time: whether it was measured on a device; it then compares only on one
            number of devices of one kind.
    """

    column: str
    words: str
    is_rate: bool = False
    is_time: bool = False


COSTS = {
    "flops": Cost("training_flops", "training FLOPs"),
    "parameters": Cost("params_total", "parameters"),
    "seconds": Cost("training_seconds", "seconds of training", is_time=True),
    "steps_per_second": Cost(
        "steps_per_second_median", "steps per second", is_rate=True, is_time=True
    ),
}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An architecture that was measured around the budget.

    Attributes:
        architecture: the architecture.
        model: its measured size whose cost is nearest to the budget.
        loss: read at the budget, nats.
        behind: loss less that of the best reading, nats, 0 for that one.
        low: low end of the simultaneous interval of `behind`; None if unknown.
        high: high end of it; likewise.
        in_set: whether the data cannot tell it from the best.
    """

    architecture: str
    model: str
    loss: float
    behind: float
    low: float | None
    high: float | None
    in_set: bool


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What the data say about a budget.

    Attributes:
        cost: what the budget is of, one of `COSTS`.
        budget: how much of it.
        candidates: by rising loss.
        not_measured: architecture -> why it is no candidate.
        reason: why nothing can be told apart; None if it can.
    """

    cost: str
    budget: float
    candidates: tuple[Candidate, ...]
    not_measured: Mapping[str, str]
    reason: str | None

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that the data cannot tell from the best."""
        return tuple(one for one in self.candidates if one.in_set)


@dataclasses.dataclass(frozen=True, eq=False)
class _Readings:
    """Losses at the budget, [k], and covariance of all pairs, [p, p]; or None."""

    losses: np.ndarray
    covariance: np.ndarray | None
    degrees: float
    reason: str | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Sizes:
    """The measured sizes of an architecture, by rising cost.

    Attributes:
        models: their names, [k].
        costs: [k].
        points: their means over runs, [k].
    """

    models: tuple[str, ...]
    costs: np.ndarray
    points: tuple[points_lib.Point, ...]


def recommend(
    frame: pd.DataFrame, budget: float, mixed: Sequence[str] = (), cost: str = "flops"
) -> Recommendation:
    """Returns the architectures to choose from at a budget.

    Args:
        frame: a frame of runs.
        budget: how much of the cost.
        mixed: columns of `fit/comparable.py` in which the runs may differ.
        cost: what the budget is of, one of `COSTS`.

    Raises:
        ResultsError: no architecture was measured around the budget; the message gives
            the measured ranges.
        FitError: the runs differ in another condition, among those of times, too, if
            the cost is one.
    """
    kind = COSTS[cost]
    table.check_comparable(frame, mixed)
    records = table.to_records(frame)
    cost_of = {row["run"]: _cost(row, kind) for row in records}
    if kind.is_time:
        _check_devices([r for r in records if cost_of[r["run"]] is not None], mixed)
    at = 1 / budget if kind.is_rate else budget
    found = points_lib.of_frame(frame, (points_lib.LOSS,))
    measured, not_measured = {}, {}
    for name in found.architectures:
        sizes = _sizes(found, name, cost_of)
        why = _why_not(sizes.costs, at, kind)
        if why is None:
            measured[name] = sizes
        else:
            not_measured[name] = why
    if not measured:
        told = "; ".join(f"{name} {why}" for name, why in not_measured.items())
        raise errors.ResultsError(
            f"no architecture was measured around {budget:g} {kind.words}, and losses "
            f"are not extrapolated: {told or 'there are no finished runs'}"
        )
    readings = _of_study(frame, measured, at, cost_of, mixed)
    if readings is None:
        readings = _of_points(measured, at, found.degrees[points_lib.LOSS])
    candidates = _judged(measured, readings, at)
    return Recommendation(cost, budget, candidates, not_measured, readings.reason)


def _cost(row: Mapping[str, Any], kind: Cost) -> float | None:
    """Returns what a run cost; None if it is unknown or a disturbed measurement."""
    value = row.get(kind.column)
    if row["left_out"] is not None or not value:
        return None
    if kind.is_time and row.get("speed_noisy"):
        return None
    return 1 / value if kind.is_rate else value


def _check_devices(
    timed: Sequence[Mapping[str, Any]], mixed: Sequence[str] = ()
) -> None:
    """Raises FitError if times were measured on several devices."""
    for one in comparable.differences(timed, (comparable.Scope.TIME,), mixed):
        raise fit_errors.FitError(
            f"times and speeds compare on one device only: the runs differ in {one}; "
            "give a folder of one of them, ask by --flops or --parameters, or mix them "
            f"with --mixed {one.field.column}"
        )


def _sizes(
    found: points_lib.Points, name: str, cost_of: Mapping[str, float | None]
) -> _Sizes:
    """Returns the sizes of an architecture that have a loss and a cost."""
    sizes = []
    for point in found.points:
        costs = [c for run in point.runs if (c := cost_of[run]) is not None]
        if point.architecture == name and points_lib.LOSS in point.values and costs:
            sizes.append((statistics.fmean(costs), point))
    sizes.sort(key=lambda pair: pair[0])
    points = tuple(point for _, point in sizes)
    models = tuple(point.model for point in points)
    return _Sizes(models, np.array([cost for cost, _ in sizes], np.float64), points)


def _why_not(costs: np.ndarray, at: float, kind: Cost) -> str | None:
    """Returns why no loss can be read at a cost; None if it can."""
    if len(costs) < _SIZES:
        return (
            f"has {len(costs)} sizes of known cost and loss; a loss between sizes "
            f"needs {_SIZES}"
        )
    if len(set(costs)) < len(costs):
        return f"has two sizes of equal {kind.words}, so they are no curve of sizes"
    if not costs[0] * (1 - _ROUNDING) <= at <= costs[-1] * (1 + _ROUNDING):
        low, high = (1 / costs[-1], 1 / costs[0]) if kind.is_rate else costs[[0, -1]]
        return f"was measured from {low:.3g} to {high:.3g}"
    return None


def _of_study(
    frame: pd.DataFrame,
    measured: Mapping[str, _Sizes],
    at: float,
    cost_of: Mapping[str, float | None],
    mixed: Sequence[str],
) -> _Readings | None:
    """Reads the losses off a study's fitted model; None if there is none."""
    try:
        study = study_fit.of_rows(table.to_records(frame), mixed)
        if study.fitted is None or study.left_out:
            return None
        rows = np.zeros((len(measured), len(study.design.cells)))
        for row, (name, sizes) in zip(rows, measured.items()):
            cells = [study.cell_of_run[point.runs[0]] for point in sizes.points]
            np.add.at(row, cells, equal_compute.weights(sizes.costs, at, name))
        pairs = _pairs(len(measured)) @ rows
        if len(measured) > 1:
            study.design.check_estimable(pairs)
    except (fit_errors.FitError, inference_errors.InferenceError):
        return None
    losses = study.fitted.means @ rows.T
    if len(measured) == 1:
        return _Readings(losses, None, math.inf, None)
    # Of differences only: their average has the orders' own error besides.
    judged = simultaneous.family(study.fitted, pairs)
    covariance, degrees = judged.estimates.covariance, float(judged.degrees)
    return _Readings(losses, covariance, degrees, None)


def _of_points(measured: Mapping[str, _Sizes], at: float, degrees: float) -> _Readings:
    """Reads the losses off independent means."""
    weights = [equal_compute.weights(s.costs, at, name) for name, s in measured.items()]
    values = [[p.values[points_lib.LOSS] for p in s.points] for s in measured.values()]
    losses = np.array(
        [row @ [one.mean for one in own] for row, own in zip(weights, values)]
    )
    if any(one.error is None for own in values for one in own):
        reason = "the error between runs is unknown: no size was trained twice"
        return _Readings(losses, None, math.inf, reason)
    variance = [
        np.square(row) @ np.square([one.error for one in own])
        for row, own in zip(weights, values)
    ]
    pairs = _pairs(len(measured))
    return _Readings(losses, (pairs * variance) @ pairs.T, degrees, None)


def _pairs(k: int) -> np.ndarray:
    """Rows of all differences i - j, i < j: [k (k - 1) / 2, k]."""
    rows = np.zeros((k * (k - 1) // 2, k))
    for row, (i, j) in zip(rows, itertools.combinations(range(k), 2)):
        row[i], row[j] = 1, -1
    return rows


def _judged(
    measured: Mapping[str, _Sizes], readings: _Readings, at: float
) -> tuple[Candidate, ...]:
    losses = readings.losses
    best = int(np.argmin(losses))
    k = len(measured)
    reach = np.full((k, k), np.inf)
    if k == 1:
        reach[:] = 0
    elif readings.covariance is not None:
        error = np.sqrt(np.diagonal(readings.covariance))
        correlation = readings.covariance / np.outer(error, error)
        degrees = min(readings.degrees, 1e6)
        quantile = simultaneous.max_t_quantile(correlation, degrees)
        for (i, j), e in zip(itertools.combinations(range(k), 2), error):
            reach[i, j] = reach[j, i] = quantile * e
    candidates = []
    for i, (name, sizes) in enumerate(measured.items()):
        others = [j for j in range(k) if j != i]
        worse = any(losses[i] - losses[j] > reach[i, j] for j in others)
        behind = float(losses[i] - losses[best])
        known = i != best and math.isfinite(reach[i, best])
        nearest = int(np.argmin(np.abs(np.log(sizes.costs / at))))
        candidates.append(
            Candidate(
                architecture=name,
                model=sizes.models[nearest],
                loss=float(losses[i]),
                behind=behind,
                low=behind - float(reach[i, best]) if known else None,
                high=behind + float(reach[i, best]) if known else None,
                in_set=not worse,
            )
        )
    return tuple(sorted(candidates, key=lambda one: one.loss))
