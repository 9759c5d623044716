"""What simulated studies find, family by family: the arrays behind `power`.

The truth of every simulated study is that all architectures lie on one curve. Standard
errors do not depend on the means, so an interval or a test for another true effect is
the same one, moved by the effect. Leading axes are studies; E counts effects.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import TypeVar

import numpy as np
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import multiplier
from clinometer.tools.inference import simultaneous
from clinometer.tools.inference import steps as steps_lib

_ERROR_RATE = 0.05
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Questions:
    """What a design can be asked.

    Attributes:
        reference: the architecture that the others are compared with, if any.
        pairs: comparisons with the reference that are possible.
        gaining: architectures whose own gain and steps can be estimated.
        held_out: a held-out size of the reference that can be predicted.
        unknown: why the rest cannot be known, a message each.
    """

    reference: str | None
    pairs: tuple[equal_compute.Comparison, ...]
    gaining: tuple[str, ...]
    held_out: "HeldOutSize | None"
    unknown: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class HeldOutSize:
    """A size to be predicted from the reference, each of its runs in a new order.

    Attributes:
        width: d_model.
        flops: training FLOPs of a run.
        runs: number of runs.
    """

    width: int
    flops: float
    runs: int


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the simulated studies are to find.

    Attributes:
        means: true means of the cells, nats, [C].
        effects: true effects to try, nats, [E].
        new: true loss of the held-out size and sd of its runs' mean, nats.
    """

    means: np.ndarray
    effects: np.ndarray
    new: tuple[float, float] | None


def questions(
    design: design_lib.Design, reference: str | None, size: HeldOutSize | None
) -> Questions:
    """Sorts out what a design can be asked.

    Args:
        design: which runs there are to be.
        reference: the architecture that the others are compared with, if any.
        size: a held-out size, if one is to be predicted.

    Raises:
        InferenceError: the reference is not in the design.
    """
    unknown: list[str] = []
    others: list[str] = []
    if reference is not None:
        design.cells_of(reference)
        others = [name for name in design.architectures if name != reference]

    def pair(name: str) -> equal_compute.Comparison:
        found = equal_compute.compare(design, name, reference)
        design.check_estimable(np.stack([found.low, found.high, found.reference_gain]))
        return found

    def gains(name: str) -> str:
        design.check_estimable(steps_lib.rows(design, name))
        return name

    def predicted(wanted: HeldOutSize) -> HeldOutSize:
        held_out.check_sizes(design, reference)
        held_out.check_orders(design)
        return wanted

    pairs = _possible(pair, others, unknown)
    gaining = _possible(gains, design.architectures, unknown)
    sizes = [] if size is None or reference is None else [size]
    held = _possible(predicted, sizes, unknown)
    if len(design.orders) == 1:
        unknown.append(
            "order: all runs share one order of the data, so every interval and "
            "outcome holds for this order only"
        )
    return Questions(
        reference=reference,
        pairs=tuple(pairs),
        gaining=tuple(gaining),
        held_out=held[0] if held else None,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def measure(
    fitted: linear_model.Fit,
    asked: Questions,
    truth: Truth,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Returns what some studies find, as arrays with studies as the first axis.

    Args:
        fitted: the model of the studies.
        asked: the questions.
        truth: the truth.
        rng: for the runs of the held-out size.
    """
    found = {}
    if asked.pairs:
        found |= _comparisons(fitted, asked.pairs, truth.effects)
    if asked.gaining:
        found |= _gains(fitted, asked.gaining, truth)
    if asked.held_out is not None:
        found |= _held_out(fitted, asked, truth, rng)
    return found


def _possible(
    make: Callable[[_T], object], names: Sequence[_T], unknown: list[str]
) -> list:
    """Makes what can be made; adds the other reasons to `unknown`."""
    made = []
    for name in names:
        try:
            made.append(make(name))
        except errors.InferenceError as error:
            unknown.append(str(error))
    return made


def _comparisons(fitted, pairs, effects) -> dict[str, np.ndarray]:
    """Intervals of levels and differences of gain, factors of compute, crossovers.

    `level` and `gain difference` are [..., 2, m]; `factor` is [..., E, 2, m], the ends
    of the factor's interval, and `bounded` [..., m]; `crossover` is [..., E, m].
    """
    levels = simultaneous.family(fitted, np.array([p.level for p in pairs]))
    gains = simultaneous.family(fitted, np.array([p.gain_difference for p in pairs]))
    ends = []
    bounded = []
    for pair in pairs:
        per_decade = pair.reference_gain / pair.decades
        both = contrasts.estimate(fitted, np.stack([pair.level, per_decade]))
        of_pair = []
        for effect in effects:
            value = both.value + np.array([effect, 0])
            low, high, inside = multiplier.fieller(
                value, both.covariance, levels.quantile
            )
            of_pair.append(np.stack([low, high], axis=-1))
        bounded.append(inside)  # Does not depend on the level.
        ends.append(np.stack(of_pair, axis=1))
    with np.errstate(over="ignore"):
        factors = 10.0 ** np.stack(ends, axis=-1)
    return {
        "level": np.stack([levels.low, levels.high], axis=1),
        "gain difference": np.stack([gains.low, gains.high], axis=1),
        "factor": factors,
        "bounded": np.stack(bounded, axis=-1),
        "crossover": _crossovers(fitted, pairs, effects),
    }


def _crossovers(fitted, pairs, effects) -> np.ndarray:
    """Whether D of the effect at the low end and minus it at the high end is found.

    One architecture crosses at a time, the others being equal, as Holm depends on all:
    [..., E, m].
    """
    m = len(pairs)
    ends = crossover.ends(fitted, pairs)
    equal = crossover.p_of_ends(ends)
    found = np.zeros((len(equal), len(effects), m), bool)
    for e, effect in enumerate(effects):
        moved = ends.value + np.repeat([effect, -effect], m)
        crossing = crossover.p_of_ends(dataclasses.replace(ends, value=moved))
        for i in range(m):
            p_values = equal.copy()
            p_values[:, i] = crossing[:, i]
            found[:, e, i] = simultaneous.holm(p_values)[:, i] <= _ERROR_RATE
    return found


def _gains(fitted, names, truth) -> dict[str, np.ndarray]:
    """Own gains and steps.

    `own gain` is [..., 2, A], the ends of the intervals less the truth. Of each
    architecture, `steps NAME` is [..., E + 1, steps], whether each step is found where
    all have one of the effects, and last as on the curve; `step NAME` is
    [..., steps], the half-widths of the steps' own intervals.
    """
    design = fitted.design
    rows = np.stack([contrasts.own_gain(design, name) for name in names])
    own = contrasts.estimate(fitted, rows)
    found = {"own gain": np.stack(own.interval(), axis=1) - rows @ truth.means}
    for name in names:
        rows = steps_lib.rows(design, name)
        steps = contrasts.estimate(fitted, rows)
        on_curve = rows @ truth.means
        p_values = []
        for size in (*truth.effects, on_curve):
            moved = dataclasses.replace(steps, value=steps.value - on_curve + size)
            p_values.append(simultaneous.holm(moved.p_above()))
        found[f"steps {name}"] = np.stack(p_values, axis=1) <= _ERROR_RATE
        quantile = stats.t.ppf(0.975, steps.degrees)
        found[f"step {name}"] = quantile * steps.standard_error
    return found


def _held_out(fitted, asked, truth, rng) -> dict[str, np.ndarray]:
    """Verdicts on the size held out.

    `verdict` is [..., E], `width` of the interval and `can support` are [...].
    """
    size = asked.held_out
    own = held_out.own_variance(fitted, size.width, size.runs, size.runs)
    predicted = held_out.predict(fitted, asked.reference, size.flops, own)
    loss, spread = truth.new
    new = loss + spread * rng.standard_normal(len(fitted.means))
    return {
        "verdict": np.stack(
            [held_out.judge(predicted, new + e) for e in truth.effects], axis=1
        ),
        "width": predicted.high - predicted.low,
        "can support": predicted.determined & predicted.narrow,
    }
