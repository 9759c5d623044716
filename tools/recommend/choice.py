"""The architectures that the data cannot tell from the best at a budget.

Each architecture's loss at the budget is read between its measured sizes
(`inference/equal_compute.py`), never beyond them. An architecture is out of the set if
another one is better by more than its simultaneous 95 % interval, taken over all pairs,
so that the set holds the best of them in 95 % of studies. Where the runs are a study
the errors are those of its fitted model; else those of independent means. Where the
error between runs is unknown, nothing can be told apart, and the set holds them all.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import itertools
import math

import numpy as np
import pandas as pd

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import simultaneous
from clinometer.tools.laws import points as points_lib
from clinometer.tools.report import study_fit
from clinometer.tools.results import errors
from clinometer.tools.results import table

FLOPS = "training_flops"
_SIZES = 3  # That a reading between sizes needs.
_ROUNDING = 1e-9


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
        flops: the budget, training FLOPs.
        candidates: by rising loss.
        not_measured: architecture -> why it is no candidate.
        reason: why nothing can be told apart; None if it can.
    """

    flops: float
    candidates: tuple[Candidate, ...]
    not_measured: Mapping[str, str]
    reason: str | None

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that the data cannot tell from the best."""
        return tuple(one for one in self.candidates if one.in_set)


@dataclasses.dataclass(frozen=True, eq=False)
class _Readings:
    """Losses at the budget, [k], and covariance, [k, k], with its degrees; or None."""

    names: tuple[str, ...]
    losses: np.ndarray
    covariance: np.ndarray | None
    degrees: float
    reason: str | None


def recommend(
    frame: pd.DataFrame, flops: float, mixed: Sequence[str] = ()
) -> Recommendation:
    """Returns the architectures to choose from at a budget.

    Args:
        frame: a frame of runs.
        flops: the budget, training FLOPs.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        ResultsError: no architecture was measured around the budget; the message gives
            the measured ranges.
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    found = points_lib.of_frame(frame, (FLOPS, points_lib.LOSS))
    measured, not_measured = [], {}
    for name in found.architectures:
        costs = [p.values[FLOPS].mean for p in found.of(name, FLOPS, points_lib.LOSS)]
        if len(set(costs)) < _SIZES:
            not_measured[name] = (
                f"has {len(set(costs))} sizes of known cost and loss; a loss between "
                f"sizes needs {_SIZES}"
            )
        elif not costs[0] * (1 - _ROUNDING) <= flops <= costs[-1] * (1 + _ROUNDING):
            not_measured[name] = f"was measured from {costs[0]:.3g} to {costs[-1]:.3g}"
        else:
            measured.append(name)
    if not measured:
        told = "; ".join(f"{name} {why}" for name, why in not_measured.items())
        raise errors.ResultsError(
            f"no architecture was measured around {flops:g} training FLOPs, and losses "
            f"are not extrapolated: {told or 'there are no finished runs'}"
        )
    readings = _of_study(frame, measured, flops, mixed)
    if readings is None:
        readings = _of_points(found, measured, flops)
    return Recommendation(
        flops, _judged(found, readings, flops), not_measured, readings.reason
    )


def _of_study(
    frame: pd.DataFrame, names: Sequence[str], flops: float, mixed: Sequence[str]
) -> _Readings | None:
    """Reads the losses off a study's fitted model; None if there is none."""
    try:
        study = study_fit.of_rows(table.to_records(frame), mixed)
        if study.fitted is None or study.left_out:
            return None
        rows = [equal_compute.reading(study.design, name, flops) for name in names]
        pairs = _pairs(len(names))
        if len(names) > 1:
            study.design.check_estimable(pairs @ np.array(rows))
    except (fit_errors.FitError, inference_errors.InferenceError):
        return None
    losses = study.fitted.means @ np.array(rows).T
    if len(names) == 1:
        return _Readings(tuple(names), losses, None, math.inf, None)
    # Of differences only: their average has the orders' own error besides.
    judged = simultaneous.family(study.fitted, pairs @ np.array(rows))
    return _Readings(
        tuple(names),
        losses,
        judged.estimates.covariance,
        float(judged.degrees),
        None,
    )


def _of_points(
    found: points_lib.Points, names: Sequence[str], flops: float
) -> _Readings:
    """Reads the losses off independent means."""
    cells, losses, spread = [], [], []
    for name in names:
        for i, point in enumerate(found.of(name, FLOPS, points_lib.LOSS)):
            cost = point.values[FLOPS].mean
            run = point.runs[0]
            loss = point.values[points_lib.LOSS].mean
            cells.append(design_lib.Run(run, name, i + 1, "0", run, cost, loss))
            losses.append(loss)
            spread.append(point.values[points_lib.LOSS].error)
    design, values = design_lib.from_runs(cells)
    try:
        rows = np.array([equal_compute.reading(design, n, flops) for n in names])
    except inference_errors.InferenceError as error:
        raise errors.ResultsError(str(error)) from error
    order = design.cell_of_run  # Each cell has one run here.
    means = np.empty(len(order))
    means[order] = values
    read = rows @ means
    if None in spread:
        reason = "the error between runs is unknown: no size was trained twice"
        return _Readings(tuple(names), read, None, math.inf, reason)
    variance = np.empty(len(order))
    variance[order] = np.square(np.array(spread, np.float64))
    pairs = _pairs(len(names)) @ rows
    covariance = (pairs * variance) @ pairs.T
    degrees = found.degrees[points_lib.LOSS]
    return _Readings(tuple(names), read, covariance, degrees, None)


def _pairs(k: int) -> np.ndarray:
    """Rows of all differences i - j, i < j: [k (k - 1) / 2, k]."""
    rows = np.zeros((k * (k - 1) // 2, k))
    for row, (i, j) in zip(rows, itertools.combinations(range(k), 2)):
        row[i], row[j] = 1, -1
    return rows


def _judged(
    found: points_lib.Points, readings: _Readings, flops: float
) -> tuple[Candidate, ...]:
    names, losses = readings.names, readings.losses
    best = int(np.argmin(losses))
    k = len(names)
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
    for i, name in enumerate(names):
        others = [j for j in range(k) if j != i]
        worse = any(losses[i] - losses[j] > reach[i, j] for j in others)
        behind = float(losses[i] - losses[best])
        known = i != best and math.isfinite(reach[i, best])
        points = found.of(name, FLOPS, points_lib.LOSS)
        nearest = min(points, key=lambda p: abs(math.log(p.values[FLOPS].mean / flops)))
        candidates.append(
            Candidate(
                architecture=name,
                model=nearest.model,
                loss=float(losses[i]),
                behind=behind,
                low=behind - float(reach[i, best]) if known else None,
                high=behind + float(reach[i, best]) if known else None,
                in_set=not worse,
            )
        )
    return tuple(sorted(candidates, key=lambda one: one.loss))
