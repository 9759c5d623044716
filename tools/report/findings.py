"""What a study found, as numbers with intervals and tests, or why they are unknown.

Everything is a contrast of the cells' means. Where the error between runs is unknown,
values are given without intervals; what cannot be estimated has the reason instead.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from clinometer.models.architectures import registry
from clinometer.tools.fit import comparable
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import multiplier as multiplier_lib
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import simultaneous
from clinometer.tools.inference import spread as spread_lib
from clinometer.tools.inference import steps as steps_lib
from clinometer.tools.report import study_fit


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: the estimate.
        low: low end of the interval; None if the error between runs is unknown.
        high: high end of the interval; likewise.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Size:
    """One architecture at one size.

    Attributes:
        cell: the architecture and size.
        runs: number of runs.
        orders: number of orders of the data among them.
        mean: mean loss, nats; at the average of the study's orders if fitted.
        sd: standard deviation of one run around its cell and order, nats; or None.
    """

    cell: design_lib.Cell
    runs: int
    orders: int
    mean: Estimate
    sd: float | None


@dataclasses.dataclass(frozen=True)
class Gain:
    """An architecture's gain from its cheapest size to its dearest.

    Attributes:
        architecture: the architecture.
        ends: the cheapest and the dearest cell; None if there is one size only.
        gain: nats, or None.
        per_decade: nats per tenfold training FLOPs, or None.
        spread: sd of its runs over the pooled sd, or None.
        reason: why a value is None.
    """

    architecture: str
    ends: tuple[design_lib.Cell, design_lib.Cell] | None
    gain: Estimate | None
    per_decade: Estimate | None
    spread: spread_lib.SpreadRatio | None
    reason: str | None


@dataclasses.dataclass(frozen=True)
class SizeStep:
    """From one size of an architecture to the next dearer one.

    Attributes:
        smaller: the cell of the smaller size.
        larger: the cell of the larger size.
        gain: nats.
        standard_error: of the gain, nats; None if the error between runs is unknown.
        p_value: one-sided against "no gain", adjusted by Holm over the architecture's
            steps; None likewise.
    """

    smaller: design_lib.Cell
    larger: design_lib.Cell
    gain: float
    standard_error: float | None = None
    p_value: float | None = None

    @property
    def clear(self) -> bool | None:
        """Whether the larger size is better; None if unknown."""
        return None if self.p_value is None else self.p_value <= 0.05


@dataclasses.dataclass(frozen=True)
class Judged:
    """A difference with its simultaneous interval.

    Attributes:
        estimate: nats, with the simultaneous interval of its family.
        outcome: what the interval says, a value of `outcomes.Outcome`; or None.
    """

    estimate: Estimate
    outcome: str | None


@dataclasses.dataclass(frozen=True)
class Compared:
    """An architecture against the reference at equal training FLOPs.

    Attributes:
        architecture: the architecture.
        ends: training FLOPs at the ends of the shared range, or None.
        level: difference of loss averaged over the two ends; above 0 is worse.
        gain: difference of gain between the ends; above 0 is better.
        crossing: whether the difference changes its sign between the ends.
        multiplier: the level as a factor of compute.
        reason: why there is no comparison; else None.
    """

    architecture: str
    ends: tuple[float, float] | None = None
    level: Judged | None = None
    gain: Judged | None = None
    crossing: crossover.Crossover | None = None
    multiplier: multiplier_lib.Multiplier | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What a study found.

    Attributes:
        notes: sentences on what the intervals are conditional on, and what is unknown.
        sizes: the mean of each size.
        gains: the own gain of each architecture.
        steps: the steps between neighboring sizes of each architecture.
        compared: each other architecture against the reference.
        margin: the largest difference that would not matter, nats, if one was
            committed before the runs.
    """

    notes: tuple[str, ...]
    sizes: tuple[Size, ...] = ()
    gains: tuple[Gain, ...] = ()
    steps: tuple[SizeStep, ...] = ()
    compared: tuple[Compared, ...] = ()
    margin: float | None = None


def find(study: study_fit.StudyFit, margin: float | None = None) -> Findings:
    """Returns what a study found.

    Args:
        study: its runs and the fitted model.
        margin: the largest difference that would not matter, nats, committed before the
            runs; without one nothing is called equivalent or negligible.
    """
    if study.design is None:
        return Findings(notes=_notes(study))
    names = study.design.architectures
    return Findings(
        notes=_notes(study),
        sizes=_sizes(study),
        gains=tuple(_gain(study, name) for name in names),
        steps=tuple(step for name in names for step in _steps(study, name)),
        compared=_compared(study, margin),
        margin=margin,
    )


def _notes(study: study_fit.StudyFit) -> tuple[str, ...]:
    """Says what the intervals rest on, and what is unknown."""
    reasons: dict[str, list[str]] = {}
    for run, why in study.left_out.items():
        reasons.setdefault(why, []).append(run)
    found = [
        f"In no size: {comparable.some(runs)}: {why}." for why, runs in reasons.items()
    ]
    if study.design is None:
        return (*found, f"Nothing can be inferred: {study.reason}.")
    if study.fitted is None:
        return (*found, f"The error between runs is unknown: {study.reason}.")
    orders, variance = len(study.design.orders), study.fitted.variance
    if orders == 1:
        found.append(
            "All runs share one order of the data, so every interval is conditional on "
            "this order."
        )
    else:
        found.append(
            f"Every interval is conditional on the {orders} orders of the data that "
            "were run, whose effects are taken off."
        )
    form = "a function of the width" if variance.has_slope else "one for all widths"
    found.append(
        f"The standard deviation of a run is {form}, fitted to all replicates "
        f"(degrees of freedom: {study.design.residual_degrees})."
    )
    if variance.at_bound:
        found.append(
            "The fitted change of this deviation with the width is the steepest that "
            "is allowed, so intervals may be wrong."
        )
    return tuple(found)


def _estimates(study: study_fit.StudyFit, rows: Sequence[np.ndarray]) -> list[Estimate]:
    """Estimates contrasts, each with its own interval.

    Raises:
        InferenceError: orders stand between the cells of a contrast.
    """
    table = np.array(rows)
    study.design.check_estimable(table)
    if study.fitted is None:
        return [Estimate(float(value)) for value in table @ study.means]
    found = contrasts.estimate(study.fitted, table)
    return [
        Estimate(*map(float, numbers))
        for numbers in zip(found.value, *found.interval())
    ]


def _sizes(study: study_fit.StudyFit) -> tuple[Size, ...]:
    design = study.design
    try:
        means = _estimates(study, list(np.eye(len(design.cells))))
    except errors.InferenceError:  # Groups of sizes that share no order.
        means = [Estimate(float(mean)) for mean in study.means]
    sds = [None] * len(design.cells)
    if study.fitted is not None:
        sds = [float(sd) for sd in np.sqrt(study.fitted.variance.of_cells())]
    return tuple(
        Size(cell, int(runs.sum()), int((runs > 0).sum()), mean, sd)
        for cell, runs, mean, sd in zip(design.cells, design.incidence, means, sds)
    )


def _gain(study: study_fit.StudyFit, name: str) -> Gain:
    design = study.design
    cells = design.cells_of(name)
    ends = (design.cells[cells[0]], design.cells[cells[-1]]) if len(cells) > 1 else None
    ratio, gain, per_decade, reason = None, None, None, None
    if study.fitted is not None:
        ratios = spread_lib.spread_ratios(study.fitted, study.losses)
        ratio = next(one for one in ratios if one.architecture == name)
    try:
        (gain,) = _estimates(study, [contrasts.own_gain(design, name)])
        (per_decade,) = _estimates(study, [contrasts.own_gain_per_decade(design, name)])
    except errors.InferenceError as error:
        reason = str(error)
    return Gain(name, ends, gain, per_decade, ratio, reason)


def _steps(study: study_fit.StudyFit, name: str) -> list[SizeStep]:
    design = study.design
    try:
        rows = steps_lib.rows(design, name)
        design.check_estimable(rows)
    except errors.InferenceError:
        return []
    if study.fitted is not None:
        return [
            SizeStep(s.smaller, s.larger, s.gain, s.standard_error, s.p_value)
            for s in steps_lib.steps(study.fitted, name)
        ]
    cells = [design.cells[i] for i in design.cells_of(name)]
    gains = map(float, rows @ study.means)
    return [SizeStep(*three) for three in zip(cells, cells[1:], gains)]


def _compared(study: study_fit.StudyFit, margin: float | None) -> tuple[Compared, ...]:
    """Compares every other architecture with the reference.

    Which of them can be compared depends on the design only, so the families are those
    that can.
    """
    design = study.design
    found: dict[str, equal_compute.Comparison | str] = {}
    for name in design.architectures:
        if name == registry.REFERENCE:
            continue
        try:
            one = equal_compute.compare(design, name, registry.REFERENCE)
            design.check_estimable(np.stack([one.low, one.high]))
            found[name] = one
        except errors.InferenceError as error:
            found[name] = str(error)
    pairs = [one for one in found.values() if not isinstance(one, str)]
    judged = {one.architecture: one for one in _judged(study, pairs, margin)}
    return tuple(
        judged.get(name) or Compared(name, reason=str(found[name])) for name in found
    )


def _judged(
    study: study_fit.StudyFit,
    pairs: Sequence[equal_compute.Comparison],
    margin: float | None,
) -> list[Compared]:
    if not pairs:
        return []
    ends = [(pair.low_flops, pair.high_flops) for pair in pairs]
    names = [pair.architecture for pair in pairs]
    of_levels = np.array([pair.level for pair in pairs])
    of_gains = np.array([pair.gain_difference for pair in pairs])
    if study.fitted is None:
        return [
            Compared(name, end, *(Judged(Estimate(float(v)), None) for v in values))
            for name, end, *values in zip(
                names, ends, of_levels @ study.means, of_gains @ study.means
            )
        ]
    levels = simultaneous.family(study.fitted, of_levels)
    gains = simultaneous.family(study.fitted, of_gains)
    return [
        Compared(*one)
        for one in zip(
            names,
            ends,
            _outcomes(levels, margin, higher_is_better=False),
            _outcomes(gains, margin, higher_is_better=True),
            crossover.crossovers(study.fitted, pairs),
            multiplier_lib.multipliers(study.fitted, pairs, levels),
        )
    ]


def _outcomes(
    family: simultaneous.Family, margin: float | None, *, higher_is_better: bool
) -> list[Judged]:
    said = outcomes.classify(
        family.low, family.high, margin, higher_is_better=higher_is_better
    )
    numbers = zip(family.estimates.value, family.low, family.high)
    return [
        Judged(Estimate(*map(float, three)), str(outcome))
        for three, outcome in zip(numbers, said)
    ]
