"""The law of size and data of each architecture, and its best sizes at equal FLOPs.

Runs may differ in their length, and so in their schedule and in what they started from:
a cooldown branched off a trunk at a constant rate is a run of its own, whose tokens
include the trunk's.
"""

from collections.abc import Sequence
import dataclasses
import statistics

import pandas as pd

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import isoflop
from clinometer.tools.fit import loss_surface
from clinometer.tools.laws import alphas
from clinometer.tools.laws import points as points_lib
from clinometer.tools.results import table

TOKENS, FLOPS = "tokens_seen", "training_flops"
_SAME = 1.05  # FLOPs of one level: the highest over the lowest.
# Conditions in which runs of several lengths differ.
MIXED = ("train_steps", "schedule", "initial", "learning_rate", "rate_protocol")


@dataclasses.dataclass(frozen=True)
class Surface:
    """The law of size and data of an architecture.

    Attributes:
        architecture: the architecture.
        points: number of points.
        measured: the points, by rising size.
        law: by variable projection; None if there is none.
        check: by the quasi-Newton method, likewise.
        agrees: whether the check lies in the law's intervals.
        optima: the best sizes at the measured budgets.
        work: how FLOPs follow from size and tokens; None if a run lacks its FLOPs.
        reason: why there is no law.
    """

    architecture: str
    points: int
    measured: tuple[points_lib.Point, ...] = ()
    law: loss_surface.LossSurface | None = None
    check: loss_surface.LossSurface | None = None
    agrees: bool | None = None
    optima: tuple[isoflop.Optimum, ...] = ()
    work: isoflop.Work | None = None
    reason: str | None = None


def fit_all(
    frame: pd.DataFrame,
    budgets: Sequence[float] | None = None,
    size: str = alphas.PARAMS,
    mixed: Sequence[str] = (),
) -> list[Surface]:
    """Fits the law of every architecture.

    Args:
        frame: a frame of runs.
        budgets: training FLOPs for which to give the best size; by default the levels
            at which an architecture has 3 or more sizes, see `levels`.
        size: column of N.
        mixed: conditions beside `MIXED` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition.
    """
    kept = table.usable(frame, points_lib.LOSS, size, TOKENS)
    table.check_comparable(kept, (*MIXED, *mixed))
    found = points_lib.of_frame(kept, (points_lib.LOSS, size, TOKENS, FLOPS))
    return [
        _surface(found.of(architecture, size), architecture, size, budgets)
        for architecture in found.architectures
    ]


def levels(
    points: Sequence[points_lib.Point], size: str = alphas.PARAMS
) -> tuple[float, ...]:
    """Returns the budgets at which several sizes were trained (isoFLOP profiles).

    Args:
        points: of one architecture, with training FLOPs.
        size: column of N.

    Returns:
        Geometric means of groups of FLOPs that differ by 5 % at most from the lowest of
        their group and have 3 or more sizes.
    """
    groups: list[list[points_lib.Point]] = []
    for point in sorted(points, key=lambda p: p.values[FLOPS].mean):
        flops = point.values[FLOPS].mean
        if groups and flops <= _SAME * groups[-1][0].values[FLOPS].mean:
            groups[-1].append(point)
        else:
            groups.append([point])
    return tuple(
        statistics.geometric_mean(point.values[FLOPS].mean for point in group)
        for group in groups
        if len({point.values[size].mean for point in group}) >= 3
    )


def _surface(
    points: Sequence[points_lib.Point],
    architecture: str,
    size: str,
    budgets: Sequence[float] | None,
) -> Surface:
    n, d, loss = (
        [point.values[column].mean for point in points]
        for column in (size, TOKENS, points_lib.LOSS)
    )
    blank = Surface(architecture, len(points), tuple(points))
    try:
        law = loss_surface.fit(n, d, loss)
        check = loss_surface.fit_huber(n, d, loss)
    except fit_errors.FitError as error:
        return dataclasses.replace(blank, reason=str(error))
    of_work, optima = None, ()
    if all(FLOPS in point.values for point in points):
        of_work = isoflop.work(n, d, [point.values[FLOPS].mean for point in points])
        optima = tuple(
            isoflop.optimum(law, budget, of_work, (min(n), max(n)), (min(d), max(d)))
            for budget in (levels(points, size) if budgets is None else budgets)
        )
    return dataclasses.replace(
        blank,
        law=law,
        check=check,
        agrees=loss_surface.agree(law, check),
        optima=optima,
        work=of_work,
    )
