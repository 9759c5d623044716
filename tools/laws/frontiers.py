"""Pareto frontiers: what no cheaper model does better, and how surely.

There is a frontier for each cost and quality. Costs are parameters, FLOPs and time; the
speed of steps counts only among runs on one number of chips of one kind. Each point has
its probability of belonging, given the standard error of its quality.

The rules of the papers: Tay et al. 2022 draw FLOPs against upstream and downstream
quality (`RULE_A`); Tay et al. 2021 call a model efficient if it stands on the frontier
of any one of parameters, FLOPs and speed for any one downstream task (`efficient`).
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import math

import numpy as np
import pandas as pd

from clinometer.tools.fit import pareto
from clinometer.tools.laws import points as points_lib
from clinometer.tools.results import columns
from clinometer.tools.results import table

SPEED = "steps_per_second_median"
TIME = "training_seconds"
PARAMS, FLOPS = "params_total", "papers_macs_forward_batch"
COSTS = (PARAMS, FLOPS, "training_flops", TIME, SPEED)
# Costs by which Tay et al. 2022 draw the frontier, and Tay et al. 2021 judge a model.
RULE_A, RULE_B = (FLOPS,), (PARAMS, FLOPS, SPEED)
_OF_DEVICES = (TIME, SPEED)


@dataclasses.dataclass(frozen=True)
class Member:
    """A point of a frontier's chart.

    Attributes:
        model: its name.
        architecture: its architecture.
        runs: names of its runs.
        cost: in the unit of the frontier's cost.
        quality: the loss with its sign changed, or the score.
        error: standard error of the quality; None if unknown.
        on: whether it stands on the frontier of the measured qualities.
        probability: that it stands on the frontier of the true qualities; None if an
            error is unknown.
    """

    model: str
    architecture: str
    runs: tuple[str, ...]
    cost: float
    quality: float
    error: float | None
    on: bool
    probability: float | None


@dataclasses.dataclass(frozen=True)
class Frontier:
    """The frontier of a cost and a quality.

    Attributes:
        cost: column of the cost; for `SPEED`, the cost is the seconds of a step.
        quality: column of the loss or score.
        chips: number and kind of the chips, for costs that are times; else None.
        members: all points, by rising cost.
    """

    cost: str
    quality: str
    chips: str | None
    members: tuple[Member, ...]

    @property
    def on(self) -> tuple[Member, ...]:
        """The points on the frontier."""
        return tuple(member for member in self.members if member.on)


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """Whether a model is efficient by the rule of Tay et al. 2021.

    Attributes:
        model: its name.
        runs: names of its runs.
        on: (cost, quality) of the frontiers that it stands on.
        probability: largest of the probabilities that it stands on one; None if
            unknown.
    """

    model: str
    runs: tuple[str, ...]
    on: tuple[tuple[str, str], ...]
    probability: float | None

    @property
    def efficient(self) -> bool:
        """Whether it stands on any frontier."""
        return bool(self.on)


def of_frame(
    frame: pd.DataFrame,
    costs: Sequence[str] = COSTS,
    qualities: Sequence[str] | None = None,
    mixed: Sequence[str] = (),
) -> list[Frontier]:
    """Returns the frontiers of all architectures together.

    Args:
        frame: a frame of runs.
        costs: columns of costs.
        qualities: columns of qualities; by default the loss and all scores.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Returns:
        A frontier for each cost and quality that two points have, and for times one for
        each number of chips.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    if qualities is None:
        scores = [f"score_{task}" for task in columns.tasks(frame.columns)]
        qualities = (points_lib.LOSS, *scores)
    found = points_lib.of_frame(frame, (*costs, *qualities))
    made = []
    for cost in costs:
        for quality in qualities:
            points = [
                p for p in found.points if cost in p.values and quality in p.values
            ]
            for chips, group in _by_chips(cost, points):
                if len(group) > 1:
                    made.append(_frontier(cost, quality, chips, group))
    return made


def efficient(frontiers: Iterable[Frontier]) -> list[Efficiency]:
    """Judges every model by the rule of Tay et al. 2021.

    Args:
        frontiers: of which those of `RULE_B` and a downstream score count.
    """
    found: dict[tuple[str, ...], Efficiency] = {}
    for frontier in frontiers:
        if frontier.cost not in RULE_B or frontier.quality == points_lib.LOSS:
            continue
        for member in frontier.members:
            before = found.get(member.runs)
            if before is None:
                before = Efficiency(member.model, member.runs, (), 0.0)
            pair = ((frontier.cost, frontier.quality),) if member.on else ()
            known = None not in (before.probability, member.probability)
            found[member.runs] = dataclasses.replace(
                before,
                on=before.on + pair,
                probability=max(before.probability, member.probability)
                if known
                else None,
            )
    return list(found.values())


def _by_chips(
    cost: str, points: Sequence[points_lib.Point]
) -> list[tuple[str | None, list[points_lib.Point]]]:
    """Returns the points by their chips, if the cost is a time."""
    if cost not in _OF_DEVICES:
        return [(None, list(points))]
    groups: dict[str, list[points_lib.Point]] = {}
    for point in points:
        number, kind = point.row["device_training"], point.row["device_kind"]
        if number is not None and not point.row.get("speed_noisy"):
            groups.setdefault(f"{number:g} x {kind or 'chip'}", []).append(point)
    return list(groups.items())


def _frontier(
    cost: str, quality: str, chips: str | None, points: Sequence[points_lib.Point]
) -> Frontier:
    costs = np.array([point.values[cost].mean for point in points])
    if cost == SPEED:
        costs = 1 / costs
    values = np.array([point.values[quality].mean for point in points])
    if quality == points_lib.LOSS:
        values = -values
    errors = [point.values[quality].error for point in points]
    on = set(pareto.frontier(costs.tolist(), values.tolist()))
    probabilities: Sequence[float | None] = [None] * len(points)
    if None not in errors:
        probabilities = pareto.probability(costs, values, errors).tolist()
    members = [
        Member(
            point.model,
            point.architecture,
            point.runs,
            float(costs[i]),
            float(values[i]),
            errors[i],
            i in on,
            probabilities[i],
        )
        for i, point in enumerate(points)
        if math.isfinite(costs[i])
    ]
    members.sort(key=lambda member: (member.cost, -member.quality))
    return Frontier(cost, quality, chips, tuple(members))
