"""Fits straight lines to the mean losses of the sizes."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import statistics

import numpy as np

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import slopes
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import line as line_lib
from clinometer.tools.report import costs
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import study_fit


@dataclasses.dataclass(frozen=True)
class Point:
    """One size of an architecture.

    Attributes:
        size: its name.
        cost: mean cost of its runs.
        loss: mean loss of its runs, nats.
        rows: the runs whose cost is used.
    """

    size: str
    cost: float
    loss: float
    rows: tuple[rows_lib.Row, ...]


@dataclasses.dataclass(frozen=True)
class CostFit:
    """The straight lines of one architecture against one cost.

    Attributes:
        cost: the cost.
        architecture: the architecture's name.
        points: its sizes by rising cost.
        line: the line by generalized least squares, with its interval; None if the
            error between runs is unknown or there are too few sizes.
        variants: all variants of the slope by ordinary least squares, without
            intervals; none with fewer than two sizes.
        reason: why there is no slope, or no interval; else None.
        left_out: run -> why it is left out.
    """

    cost: costs.CostAxis
    architecture: str
    points: tuple[Point, ...]
    line: line_lib.Line | None
    variants: tuple[slopes.SlopeFit, ...]
    reason: str | None
    left_out: Mapping[str, str]

    @property
    def runs(self) -> int:
        """Number of runs whose cost is used."""
        return sum(len(point.rows) for point in self.points)

    @property
    def slope(self) -> float | None:
        """Nats by which the loss falls per tenfold cost; None if there is no line."""
        if self.line is not None:
            return self.line.gain_per_decade
        return self.variants[0].slope if self.variants else None

    @property
    def residuals(self) -> tuple[float, ...]:
        """Each point's loss less that of the line, nats; none without a line."""
        if self.slope is None:
            return ()
        fitted = self.predict(np.array([point.cost for point in self.points]))
        return tuple(float(p.loss - f) for p, f in zip(self.points, fitted))

    def predict(self, cost: np.ndarray) -> np.ndarray:
        """Loss of the line at these costs, nats; needs a slope."""
        if self.line is not None:
            return self.line.predict(cost)
        return -self.variants[0].predict(cost)  # The fitted quantity is -loss.


def fit_all(
    rows: Sequence[rows_lib.Row],
    study: study_fit.StudyFit,
    mixed: Sequence[str] = (),
) -> list[CostFit]:
    """Fits the loss against every cost, for each architecture.

    Args:
        rows: rows of the table of runs, finished or not.
        study: the model fitted to them.
        mixed: columns of `fit/comparable.py` in which the runs of a fit may differ.

    Returns:
        The fits, by cost and then by the architecture's name. Runs that differ in a
        condition of fits against time, such as the device, have none against it.
    """
    names = sorted({row["architecture"] for row in rows})
    fits = []
    for cost in costs.COSTS:
        found = {row["run"]: _unused(cost, row, rows) for row in rows}
        used = [row for row in rows if found[row["run"]] is None]
        refused = _several_devices(used, mixed) if cost.is_time else None
        for name in names:
            mine = [row["run"] for row in rows if row["architecture"] == name]
            left_out = {run: found[run] for run in mine if found[run] is not None}
            if refused is not None:
                fits.append(CostFit(cost, name, (), None, (), refused, left_out))
            else:
                own = [row for row in used if row["architecture"] == name]
                fits.append(_fit(cost, name, own, study, left_out))
    return fits


def _several_devices(rows: Sequence[rows_lib.Row], mixed: Sequence[str]) -> str | None:
    """Returns why the times of these runs are not comparable; None if they are."""
    if any(row["speed_run"] is not None for row in rows):
        return None  # `speeds` has compared the devices that they were timed on.
    differ = comparable.differences(rows, (comparable.Scope.TIME,), mixed)
    if not differ:
        return None
    columns = ",".join(one.field.column for one in differ)
    return (
        f"the runs differ in {differ[0]}. Fit them together with `clinometer report "
        f"--mixed {columns}`"
    )


def _unused(
    cost: costs.CostAxis, row: rows_lib.Row, rows: Sequence[rows_lib.Row]
) -> str | None:
    """Returns why a run is left out of a fit; None if it is used."""
    why = selection.why_left_out(row, rows)
    if why is None and cost.is_time and row["speed_noisy"]:
        return "its speed is noisy or was measured beside other work"
    if why is None and (row[cost.column] or 0) <= 0:
        return f"its record lacks {cost.column}"
    return why


def _fit(
    cost: costs.CostAxis,
    name: str,
    rows: Sequence[rows_lib.Row],
    study: study_fit.StudyFit,
    left_out: Mapping[str, str],
) -> CostFit:
    points = _points(cost, rows, study)
    # Two sizes differ in time at least by chance, so count models, not costs.
    models = len({point.rows[0]["model"] for point in points})
    if models < 2:
        reason = f"a slope needs runs of 2 or more sizes, got {models}"
        return CostFit(cost, name, points, None, (), reason, left_out)
    line, variants, reason = None, (), None
    try:
        variants = tuple(
            slopes.slope_variants(
                [point.cost for point in points],
                [point.loss for point in points],
                lower_is_better=True,
            )
        )
        line = _line(name, points, study)
    except (fit_errors.FitError, inference_errors.InferenceError) as error:
        reason = str(error)
    return CostFit(cost, name, points, line, variants, reason, left_out)


def _line(
    name: str, points: Sequence[Point], study: study_fit.StudyFit
) -> line_lib.Line:
    """Fits the line with its interval.

    Raises:
        InferenceError: the error between runs is unknown, or there are too few sizes.
    """
    if study.fitted is None:
        raise inference_errors.InferenceError(study.reason)
    costs_of_cells = {}
    for point in points:
        run = point.rows[0]["run"]
        if run in study.left_out:
            raise inference_errors.InferenceError(f"{run}: {study.left_out[run]}")
        costs_of_cells[study.cell_of_run[run]] = point.cost
    return line_lib.fit_line(study.fitted, name, costs=costs_of_cells)


def _points(
    cost: costs.CostAxis, rows: Sequence[rows_lib.Row], study: study_fit.StudyFit
) -> tuple[Point, ...]:
    """Returns the sizes by rising cost, each with the mean of its runs."""
    cells: dict[tuple, list[rows_lib.Row]] = {}
    for row in sorted(rows, key=lambda row: row["run"]):
        cells.setdefault(comparable.cell(row), []).append(row)
    points = []
    for group in cells.values():
        cell = study.cell_of_run.get(group[0]["run"])
        if cell is None:
            loss = statistics.fmean(row["validation_loss_nats"] for row in group)
        else:
            loss = float(study.means[cell])
        mean = statistics.fmean(row[cost.column] for row in group)
        points.append(Point(group[0]["size"], mean, loss, tuple(group)))
    return tuple(sorted(points, key=lambda point: (point.cost, point.size)))
