"""Analyzes finished runs: slopes, power laws, and differences between sizes."""

from collections.abc import Sequence
import dataclasses
import statistics

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors
from clinometer.tools.fit import power_law
from clinometer.tools.fit import slopes
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
        left_out: names of the runs that are left out because their speed is noisy.
    """

    cost: costs.CostAxis
    architecture: str
    rows: tuple[rows_lib.Row, ...]
    fit: slopes.SlopeFit | None
    variants: tuple[slopes.SlopeFit, ...]
    reason: str | None
    left_out: tuple[str, ...]


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
    """Returns the rows of runs that are finished and have a validation loss."""
    return [
        row
        for row in rows
        if row["status"] == "finished" and row["validation_loss_nats"] is not None
    ]


def fit_all(rows: Sequence[rows_lib.Row]) -> list[CostFit]:
    """Fits the loss against every cost, for each architecture.

    Args:
        rows: rows of the table of runs, finished or not.

    Returns:
        The fits, by cost and then by the architecture's name.

    Raises:
        FitError: the finished runs differ in corpus or vocabulary.
    """
    done = finished_rows(rows)
    comparable.check_comparable(done)
    names = sorted({row["architecture"] for row in done})
    return [
        _fit(cost, name, [row for row in done if row["architecture"] == name])
        for cost in costs.COSTS
        for name in names
    ]


def _fit(cost: costs.CostAxis, name: str, rows: list[rows_lib.Row]) -> CostFit:
    left_out = tuple(r["run"] for r in rows if cost.is_time and r["speed_noisy"])
    used = [r for r in rows if r["run"] not in left_out and (r[cost.column] or 0) > 0]
    used = tuple(sorted(used, key=lambda r: (r[cost.column], r["run"])))
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

    Args:
        rows: rows of the table of runs, finished or not.

    Returns:
        Architecture -> its power law, or the reason why there is none.
    """
    done = finished_rows(rows)
    laws: dict[str, power_law.PowerLaw | str] = {}
    for name in sorted({row["architecture"] for row in done}):
        mine = [r for r in done if r["architecture"] == name and r["params_total"]]
        try:
            laws[name] = power_law.fit_power_law(
                [row["params_total"] for row in mine],
                [row["validation_loss_nats"] for row in mine],
            )
        except errors.FitError as error:
            laws[name] = str(error)
    return laws


def seed_spread(rows: Sequence[rows_lib.Row]) -> tuple[str, float] | None:
    """Returns the smallest model with several seeds, and the range of its losses."""
    for model, group in _by_model(rows):
        losses = [row["validation_loss_nats"] for row in group]
        if len(losses) > 1:
            return model, max(losses) - min(losses)
    return None


def separation(rows: Sequence[rows_lib.Row]) -> list[SizeStep]:
    """Compares neighboring sizes (by parameters) of each architecture.

    Args:
        rows: rows of the table of runs, finished or not.
    """
    done = finished_rows(rows)
    steps = []
    for name in sorted({row["architecture"] for row in done}):
        mine = [row for row in done if row["architecture"] == name]
        spread = seed_spread(mine)
        needed = None if spread is None else SPREADS * spread[1]
        means = [
            (model, statistics.fmean(row["validation_loss_nats"] for row in group))
            for model, group in _by_model(mine)
        ]
        for (smaller, before), (larger, after) in zip(means, means[1:]):
            steps.append(SizeStep(smaller, larger, before - after, needed))
    return steps


def _by_model(rows: Sequence[rows_lib.Row]) -> list[tuple[str, list[rows_lib.Row]]]:
    """Groups the rows by model, in ascending order of parameters and name."""
    groups: dict[str, list[rows_lib.Row]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    return sorted(
        groups.items(), key=lambda item: (item[1][0]["params_total"] or 0, item[0])
    )
