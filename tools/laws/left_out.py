"""Held-out error: every law fitted without the largest size, and asked for it.

Laws extrapolate by a power law with a floor; the straight line of the papers' slopes is
asked too, so that its error shows beside theirs. Where the runs are a study in several
orders of the data, the power law of training FLOPs has a 95 % interval and a verdict
(`inference/held_out.py`).
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np
import pandas as pd

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import loss_surface
from clinometer.tools.fit import power_law
from clinometer.tools.fit import slopes
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.laws import alphas
from clinometer.tools.laws import downstream
from clinometer.tools.laws import points as points_lib
from clinometer.tools.laws import surfaces
from clinometer.tools.report import study_fit
from clinometer.tools.results import columns
from clinometer.tools.results import table

LINE, POWER, SURFACE = "straight line", "power law with floor", "size and data"
TWO_STEPS, DIRECT = "two steps", "direct"


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What a law said of a size that it had not seen.

    Attributes:
        architecture: the architecture.
        law: one of the names of this module.
        x: the column that the law extrapolates in.
        target: the column that it predicts.
        model: the size that was left out.
        points: number of points that were fitted.
        distance: how far it lies beyond them: tenfolds of x, or nats if x is the loss.
        observed: the value, in the unit of the target.
        predicted: the law's; None if there is none.
        low: low end of the prediction's 95 % interval; None if unknown.
        high: high end; likewise.
        verdict: of `inference/held_out.py`; None without an interval.
        reason: why there is no prediction.
    """

    architecture: str
    law: str
    x: str
    target: str
    model: str
    points: int
    distance: float
    observed: float
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str | None = None
    reason: str | None = None

    @property
    def error(self) -> float | None:
        """Predicted less observed."""
        return None if self.predicted is None else self.predicted - self.observed


def of_frame(frame: pd.DataFrame, mixed: Sequence[str] = ()) -> list[LeftOut]:
    """Asks every law of every architecture for its largest size.

    Args:
        frame: a frame of runs.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    loss, size = points_lib.LOSS, alphas.PARAMS
    costs = (surfaces.FLOPS, size, alphas.FLOPS)
    found = points_lib.of_frame(frame, (loss, *costs, surfaces.TOKENS))
    tasks = columns.tasks(frame.columns)
    scored = downstream.points_of(frame, tasks)
    study = _design(frame)
    made = []
    for architecture in found.architectures:
        for cost in costs:
            points = found.of(architecture, cost, loss)
            made += [
                _asked(points, LINE, (cost,), loss, _line),
                _asked(points, POWER, (cost,), loss, _power),
            ]
            if cost == surfaces.FLOPS and made[-1] is not None and study:
                made[-1] = _with_interval(made[-1], study)
        points = found.of(architecture, size, surfaces.TOKENS, loss)
        made.append(_asked(points, SURFACE, (size, surfaces.TOKENS), loss, _surface))
        for task in tasks:
            made += _downstream(scored, architecture, task)
    return [one for one in made if one is not None]


_Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], float]]


def _asked(
    points: Sequence[points_lib.Point],
    law: str,
    names: tuple[str, ...],
    target: str,
    fit: _Fit,
) -> LeftOut | None:
    """Fits a law without the largest of the first column; None without any.

    Args:
        points: by rising first column.
        law: its name.
        names: columns that it is a function of.
        target: column that it predicts.
        fit: x [k, n] and y [n] to a function of x [k].
    """
    if len(points) < 2:
        return None
    values = [[point.values[name].mean for name in names] for point in points]
    x = np.array(values).T  # [k, n]
    y = np.array([point.values[target].mean for point in points])
    seen = x[0] < x[0, -1]  # All lengths of the largest size are left out.
    if not np.any(seen):
        return None
    last = int(np.argmax(np.prod(x, axis=0) * ~seen))
    blank = LeftOut(
        architecture=points[0].architecture,
        law=law,
        x=names[0],
        target=target,
        model=points[last].model,
        points=int(seen.sum()),
        distance=float(np.log10(x[0, last] / x[0, seen].max())),
        observed=float(y[last]),
    )
    try:
        predict = fit(x[:, seen], y[seen])
    except fit_errors.FitError as error:
        return dataclasses.replace(blank, reason=str(error))
    return dataclasses.replace(blank, predicted=float(predict(x[:, last])))


def _line(x: np.ndarray, y: np.ndarray):
    fitted = slopes.fit_slope(x[0], y)
    return lambda at: fitted.predict(at)[0]


def _power(x: np.ndarray, y: np.ndarray):
    fitted = power_law.fit_power_law(x[0], y)
    return lambda at: fitted.predict(at)[0]


def _surface(x: np.ndarray, y: np.ndarray):
    fitted = loss_surface.fit(x[0], x[1], y, intervals=False)
    return lambda at: fitted.predict(at[0], at[1])


def _downstream(
    found: points_lib.Points, architecture: str, task: str
) -> list[LeftOut]:
    """Asks both laws of a task for the point with the lowest loss."""
    loss, score, likelihood = points_lib.LOSS, f"score_{task}", f"likelihood_{task}"
    made = []
    for law, needed in ((TWO_STEPS, (score, likelihood)), (DIRECT, (score,))):
        points = found.of(architecture, loss, *needed)
        if len(points) < 2:
            continue
        best, *seen = points
        chance = downstream.chance_of(points, task)
        columns_of = [[p.values[name].mean for p in seen] for name in (loss, *needed)]
        blank = LeftOut(
            architecture=architecture,
            law=law,
            x=loss,
            target=score,
            model=best.model,
            points=len(seen),
            distance=seen[0].values[loss].mean - best.values[loss].mean,
            observed=best.values[score].mean,
        )
        try:
            if law == DIRECT:
                fitted = downstream.fit_direct(*columns_of, chance)
            else:
                losses, scores, likelihoods = columns_of
                fitted = downstream.fit_two_steps(losses, likelihoods, scores, chance)
            predicted = float(fitted.predict(best.values[loss].mean))
            made.append(dataclasses.replace(blank, predicted=predicted))
        except fit_errors.FitError as error:
            made.append(dataclasses.replace(blank, reason=str(error)))
    return made


def _design(frame: pd.DataFrame) -> list[design_lib.Run]:
    """Returns the runs as a design's; none if they lack what it needs."""
    needed = ("d_model", surfaces.FLOPS, points_lib.LOSS)
    return [
        study_fit.as_run(row) for row in table.to_records(table.usable(frame, *needed))
    ]


def _with_interval(one: LeftOut, runs: Sequence[design_lib.Run]) -> LeftOut:
    """Replaces the prediction by the study's own, with its interval, if it has one."""
    own = [run for run in runs if run.architecture == one.architecture]
    if not own:
        return one
    largest = max(run.flops for run in own)
    new = [run for run in own if run.flops == largest]
    kept = [run for run in runs if run not in new]
    try:
        fitted = linear_model.fit(*design_lib.from_runs(kept))
        orders = len({run.order for run in new})
        variance = held_out.own_variance(fitted, new[0].width, len(new), orders)
        told = held_out.predict(fitted, one.architecture, largest, variance)
    except inference_errors.InferenceError:
        return one
    observed = float(np.mean([run.loss for run in new]))
    return dataclasses.replace(
        one,
        observed=observed,
        predicted=float(told.value),
        low=float(told.low),
        high=float(told.high),
        verdict=str(held_out.judge(told, observed)),
    )
