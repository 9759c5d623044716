"""Analyzes finished runs: slopes, power laws, and differences between sizes.

`_fit` and `separation` treat every run as an independent point.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import statistics

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors
from clinometer.tools.fit import power_law
from clinometer.tools.fit import slopes
from clinometer.tools.report import copies
from clinometer.tools.report import costs
from clinometer.tools.report import rows as rows_lib

# A size counts as better if it beats the previous one by more than this many spreads.
SPREADS = 2.0


@dataclasses.dataclass(frozen=True)
class CostFit:
    """The fits of one architecture against one cost.

    Attributes:
        cost: the cost.
        architecture: the architecture's name.
        rows: the points, in the order of the residuals.
        fit: the slope of -loss against log10 of the cost; None if there is none.
        variants: all variants of the slope.
        reason: why there is no fit, or no interval; else None.
        left_out: run -> why it is left out.
    """

    cost: costs.CostAxis
    architecture: str
    rows: tuple[rows_lib.Row, ...]
    fit: slopes.SlopeFit | None
    variants: tuple[slopes.SlopeFit, ...]
    reason: str | None
    left_out: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class SizeStep:
    """A comparison of two neighboring sizes of one architecture.

    Attributes:
        smaller: name of the smaller model.
        larger: name of the larger model.
        drop: loss of the smaller minus loss of the larger, in nats per token; means
            over seeds.
        needed: SPREADS times the spread between seeds; None if it is unknown.
    """

    smaller: str
    larger: str
    drop: float
    needed: float | None

    @property
    def clear(self) -> bool | None:
        """Whether the drop exceeds the spread between seeds; None if unknown."""
        return None if self.needed is None else self.drop > self.needed


def finished_rows(rows: Sequence[rows_lib.Row]) -> list[rows_lib.Row]:
    """Returns the rows of the runs that a fit of the loss may use.

    They are finished, have a finite validation loss, and repeat no other run.
    """
    return [row for row in rows if _why_left_out(row, rows) is None]


def _why_left_out(row: rows_lib.Row, rows: Sequence[rows_lib.Row]) -> str | None:
    if row["status"] != "finished":
        return f"{row['status']} at step {row['step'] or 0} of {row['train_steps']}"
    if row["validation_loss_nats"] is None:
        return "no finite validation loss"
    if row["copy_of"] is not None:
        (kept,) = (other for other in rows if other["run"] == row["copy_of"])
        return copies.describe(row, kept)
    return None


def fit_all(rows: Sequence[rows_lib.Row], mixed: Sequence[str] = ()) -> list[CostFit]:
    """Fits the loss against every cost, for each architecture.

    Args:
        rows: rows of the table of runs, finished or not.
        mixed: columns of `fit/comparable.py` in which the runs of a fit may differ.

    Returns:
        The fits, by cost and then by the architecture's name. Runs that differ in a
        condition of fits against time, such as the device, have none against it.

    Raises:
        FitError: the finished runs differ in a condition; the message names it and the
            runs.
    """
    done = finished_rows(rows)
    comparable.check_comparable(done, mixed)
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
                fits.append(_fit(cost, name, own, left_out))
    return fits


def _several_devices(rows: Sequence[rows_lib.Row], mixed: Sequence[str]) -> str | None:
    """Returns why the times of these runs are not comparable; None if they are."""
    differ = comparable.differences(rows, (comparable.Scope.TIME,), mixed)
    if not differ:
        return None
    columns = ",".join(one.field.column for one in differ)
    return (
        f"the runs differ in {differ[0]}. Fit them together with `clinometer report "
        f"--mixed {columns}`"
    )


def _fit(
    cost: costs.CostAxis,
    name: str,
    rows: Sequence[rows_lib.Row],
    left_out: Mapping[str, str],
) -> CostFit:
    used = tuple(sorted(rows, key=lambda r: (r[cost.column], r["run"])))
    x = [row[cost.column] for row in used]
    y = [row["validation_loss_nats"] for row in used]
    # Two runs of one model differ in time only by chance, so count models, not costs.
    models = len({row["model"] for row in used})
    fit, variants, reason = None, (), None
    if models < 2:
        reason = f"a slope needs runs of 2 or more models, got {models}"
    else:
        fit = slopes.fit_slope(x, y, lower_is_better=True)
        variants = tuple(slopes.slope_variants(x, y, lower_is_better=True))
    if fit is not None and (models < 3 or fit.interval is None):
        fit = _without_interval(fit)
        variants = tuple(map(_without_interval, variants))
        reason = f"no interval; it needs runs of 3 or more models, got {models}"
    return CostFit(cost, name, used, fit, variants, reason, left_out)


def _unused(
    cost: costs.CostAxis, row: rows_lib.Row, rows: Sequence[rows_lib.Row]
) -> str | None:
    """Returns why a run is left out of a fit; None if it is used."""
    why = _why_left_out(row, rows)
    if why is None and cost.is_time and row["speed_noisy"]:
        return "its speed is noisy or was measured beside other work"
    if why is None and (row[cost.column] or 0) <= 0:
        return f"its record lacks {cost.column}"
    return why


def _without_interval(fit: slopes.SlopeFit) -> slopes.SlopeFit:
    return dataclasses.replace(
        fit,
        slope_stderr=None,
        intercept_stderr=None,
        interval=None,
        theil_sen_interval=None,
    )


def fit_power_laws(
    rows: Sequence[rows_lib.Row],
) -> dict[str, power_law.PowerLaw | str]:
    """Fits loss = N_c * N^alpha + floor, with N parameters, for each architecture.

    The points are the mean losses of the sizes; replicates of one size are not
    independent points.

    Args:
        rows: rows of the table of runs, finished or not.

    Returns:
        Architecture -> its power law, or the reason why there is none.
    """
    done = finished_rows(rows)
    laws: dict[str, power_law.PowerLaw | str] = {}
    for name in sorted({row["architecture"] for row in done}):
        mine = [r for r in done if r["architecture"] == name and r["params_total"]]
        groups = [group for _, group in _by_model(mine)]
        try:
            laws[name] = power_law.fit_power_law(
                [group[0]["params_total"] for group in groups],
                [_mean_loss(group) for group in groups],
            )
        except errors.FitError as error:
            laws[name] = str(error)
    return laws


def seed_spread(rows: Sequence[rows_lib.Row]) -> tuple[str, float] | None:
    """Returns the smallest model with replicates, and the range of their losses.

    Replicates are runs of one cell, see `comparable.cell`. So two rates of one model,
    which may be in a report with `--mixed`, are none.
    """
    for model, group in _by_model(rows):
        cells: dict[tuple, list[float]] = {}
        for row in group:
            losses = cells.setdefault(comparable.cell(row), [])
            losses.append(row["validation_loss_nats"])
        ranges = [max(losses) - min(losses) for losses in cells.values() if losses[1:]]
        if ranges:
            return model, max(ranges)
    return None


def separation(rows: Sequence[rows_lib.Row]) -> list[SizeStep]:
    """Compares neighboring sizes (by parameters) of each architecture.

    Sizes that were run under several conditions, as a report with `--mixed` may have
    them, are not compared.

    Args:
        rows: rows of the table of runs, finished or not.
    """
    done = finished_rows(rows)
    steps = []
    for name in sorted({row["architecture"] for row in done}):
        mine = [row for row in done if row["architecture"] == name]
        spread = seed_spread(mine)
        needed = None if spread is None else SPREADS * spread[1]
        groups = _by_model(mine)
        for (smaller, before), (larger, after) in zip(groups, groups[1:]):
            if all(
                len({condition(row) for row in rows}) == 1
                for condition, rows in (
                    (comparable.key, [*before, *after]),
                    (comparable.cell, before),
                    (comparable.cell, after),
                )
            ):
                drop = _mean_loss(before) - _mean_loss(after)
                steps.append(SizeStep(smaller, larger, drop, needed))
    return steps


def _mean_loss(rows: Sequence[rows_lib.Row]) -> float:
    return statistics.fmean(row["validation_loss_nats"] for row in rows)


def _by_model(rows: Sequence[rows_lib.Row]) -> list[tuple[str, list[rows_lib.Row]]]:
    """Groups the rows by model, in ascending order of parameters and name."""
    groups: dict[str, list[rows_lib.Row]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    return sorted(
        groups.items(), key=lambda item: (item[1][0]["params_total"] or 0, item[0])
    )
