"""What a design could detect, by simulating it before it runs.

Losses are drawn around a curve that all architectures share, so that at equal FLOPs
all are equal, and analysed exactly as a study's would be, see `power_measures`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import power_measures
from clinometer.tools.inference import variance

Curve = Callable[[np.ndarray], np.ndarray]  # Training FLOPs to nats.

DETECTABLE = 0.8  # Share of studies that find a detectable effect.
# An outcome is out of reach if no true difference up to twice the margin gives it in
# this share of studies.
_REACH = 0.01
_TRUTHS = np.linspace(-2, 2, 81)  # In margins.
_AT_ONCE = 1000  # Studies, which bounds memory; progress is told after each batch.

Shares = Mapping[str, float]  # Outcome -> share of studies.


@dataclasses.dataclass(frozen=True)
class Comparable:
    """One architecture's level, or difference of gain, against the reference.

    Attributes:
        architecture: the architecture.
        half_width: median half-width of the simultaneous interval, nats.
        detectable: true difference found in 80 % of studies, nats.
        shares: outcomes for each of the effects.
        out_of_reach: outcomes that the design cannot reach.
    """

    architecture: str
    half_width: float
    detectable: float
    shares: tuple[Shares, ...]
    out_of_reach: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Multiplier:
    """One level as a factor of compute.

    Attributes:
        architecture: the architecture.
        factors: true factor and the medians of both ends of its interval, for each of
            the effects.
        unbounded: share of studies whose interval is unbounded.
    """

    architecture: str
    factors: tuple[tuple[float, float, float], ...]
    unbounded: float


@dataclasses.dataclass(frozen=True)
class Gain:
    """An architecture's gain over its range, or one of its steps.

    Attributes:
        architecture: the architecture.
        sizes: "d16 to d32".
        half_width: median half-width of its own 95 % interval, nats.
        found: share of studies that find it, for each of the effects.
        on_curve: gain on the curve, nats.
        found_on_curve: share of studies that find this.
    """

    architecture: str
    sizes: str
    half_width: float
    found: tuple[float, ...]
    on_curve: float
    found_on_curve: float


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """A size held out, predicted from the reference.

    Attributes:
        size: the size.
        step: its gain over the largest size on the curve, nats.
        width: median width of the prediction's interval, nats.
        shares: verdicts where the loss is above the curve by each of the effects.
        out_of_reach: verdicts that the design cannot reach.
    """

    size: power_measures.HeldOutSize
    step: float
    width: float
    shares: tuple[Shares, ...]
    out_of_reach: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Power:
    """What a design could detect.

    Attributes:
        draws: number of simulated studies.
        margin: the margin, nats.
        effects: the true effects that were tried, nats.
        reference: the architecture that the others are compared with, if any.
        levels: one an architecture; an effect above 0 is a loss that is higher.
        gains: differences of gain; an effect above 0 is a larger gain.
        multipliers: one an architecture, for effects on the level.
        crossovers: architecture -> share of studies that find D of the effect at one
            end of the shared range and minus it at the other, for each of the effects.
        own_gains: one an architecture.
        steps: of all architectures; an effect is that of every step.
        held_out: the prediction of a larger size, if asked for and possible.
        has_slope: whether the design can tell how the variance depends on width.
        unknown: what the design cannot know at all, and why.
    """

    draws: int
    margin: float
    effects: tuple[float, ...]
    reference: str | None
    levels: tuple[Comparable, ...]
    gains: tuple[Comparable, ...]
    multipliers: tuple[Multiplier, ...]
    crossovers: Mapping[str, tuple[float, ...]]
    own_gains: tuple[Gain, ...]
    steps: tuple[Gain, ...]
    held_out: HeldOut | None
    has_slope: bool
    unknown: tuple[str, ...]


def draw_losses(
    design: design_lib.Design,
    means: np.ndarray,
    sd: float | Mapping[int, float],
    *,
    order_sd: float = 0.0,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Losses of simulated studies.

    Args:
        design: which runs there are.
        means: true means of the cells, nats, [C].
        sd: of a run around its cell and order, nats: one, or by width.
        order_sd: of the orders' effects, nats.
        draws: studies.
        seed: of the random numbers.

    Returns:
        [draws, n], nats.

    Raises:
        InferenceError: sd has no value for a width, or one not above 0.
    """
    by_width = _sd_of_widths(design, sd)
    of_run = by_width[design.width_of_cell][design.cell_of_run]
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((draws, len(of_run))) * of_run
    effects = order_sd * rng.standard_normal((draws, len(design.orders)))
    return means[design.cell_of_run] + noise + effects[:, design.order_of_run]


def simulate(
    design: design_lib.Design,
    *,
    reference: str | None,
    curve: Curve,
    sd: float | Mapping[int, float],
    margin: float,
    effects: Sequence[float] = (0.0, 1.0),
    order_sd: float = 0.0,
    held_out_size: power_measures.HeldOutSize | None = None,
    draws: int = 2000,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Power:
    """Simulates a design.

    Args:
        design: which runs there are to be.
        reference: the architecture that the others are compared with, if any.
        curve: true loss of all architectures, by training FLOPs.
        sd: of a run around its cell and order, nats: one, or by width.
        margin: the largest difference that would not matter, nats.
        effects: true effects to try, in margins, 0 or above.
        order_sd: of the orders' effects, nats; matters for the size held out only.
        held_out_size: a size to be predicted from the reference.
        draws: studies to simulate.
        seed: of the random numbers.
        progress: called with the number of studies that are done.

    Raises:
        InferenceError: an unknown reference, no replicates, or a margin or sd out of
            range.
    """
    outcomes.check_margin(margin)
    variance.check_replicates(design)
    asked = power_measures.questions(design, reference, held_out_size)
    means = curve(design.flops_of(range(len(design.cells))))
    new = None
    if asked.held_out is not None:
        size = asked.held_out
        noise = _sd_of_widths(design, sd, (size.width,))[-1]
        loss = float(curve(np.array([size.flops]))[0])
        new = loss, float(np.sqrt((noise**2 + order_sd**2) / size.runs))
    truth = power_measures.Truth(means, margin * np.array(effects), new)
    losses = draw_losses(design, means, sd, order_sd=order_sd, draws=draws, seed=seed)
    rng = np.random.default_rng([seed, 1])
    parts = []
    for start in range(0, draws, _AT_ONCE):
        fitted = linear_model.fit(design, losses[start : start + _AT_ONCE])
        parts.append(power_measures.measure(fitted, asked, truth, rng))
        progress(min(start + _AT_ONCE, draws))
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    names = [pair.architecture for pair in asked.pairs]
    return Power(
        draws=draws,
        margin=margin,
        effects=tuple(map(float, truth.effects)),
        reference=reference,
        levels=_comparables(names, found.get("level"), truth, margin, False),
        gains=_comparables(names, found.get("gain difference"), truth, margin, True),
        multipliers=tuple(
            _multiplier(pair, i, found, truth) for i, pair in enumerate(asked.pairs)
        ),
        crossovers={
            name: tuple(map(float, found["crossover"][..., i].mean(axis=0)))
            for i, name in enumerate(names)
        },
        own_gains=tuple(
            _own_gain(design, name, found["own gain"][..., i], truth)
            for i, name in enumerate(asked.gaining)
        ),
        steps=tuple(
            step
            for name in asked.gaining
            for step in _steps(design, name, found, truth)
        ),
        held_out=_held_out(design, asked, found, truth),
        has_slope=fitted.variance.has_slope,
        unknown=asked.unknown,
    )


def _sd_of_widths(design, sd: float | Mapping[int, float], extra=()) -> np.ndarray:
    """Standard deviations at the design's widths and then the extra ones: nats."""
    widths = [*map(int, design.widths), *extra]
    missing = [w for w in widths if isinstance(sd, Mapping) and w not in sd]
    if missing:
        raise errors.InferenceError(f"sd has no value for width {missing[0]}")
    values = np.array([sd[w] if isinstance(sd, Mapping) else sd for w in widths], float)
    if not np.all(np.isfinite(values) & (values > 0)):
        raise errors.InferenceError(f"sd is {sd}; accepted: nats above 0")
    return values


def _comparables(names, intervals, truth, margin, good) -> tuple[Comparable, ...]:
    """What each contrast of a family can reach; intervals are [draws, 2, m]."""
    made = []
    for i, name in enumerate(names):
        low, high = intervals[:, 0, i], intervals[:, 1, i]

        def shares(effect: float, low=low, high=high) -> dict[str, float]:
            found = outcomes.classify(
                low + effect, high + effect, margin, higher_is_better=good
            )
            return _shares(found, outcomes.Outcome)

        reached = [shares(effect) for effect in _TRUTHS * margin]
        made.append(
            Comparable(
                architecture=name,
                half_width=float(np.median(high - low) / 2),
                # An interval excludes 0 on the right side for a truth above its -low.
                detectable=float(np.quantile(-low, DETECTABLE)),
                shares=tuple(map(shares, truth.effects)),
                out_of_reach=tuple(
                    o.value
                    for o in outcomes.Outcome
                    if max(s[o] for s in reached) < _REACH
                ),
            )
        )
    return tuple(made)


def _shares(found: np.ndarray, kinds) -> dict[str, float]:
    return {kind.value: float(np.mean(found == kind.value)) for kind in kinds}


def _multiplier(pair, index, found, truth) -> Multiplier:
    """Medians; an unbounded interval is one from 0 to infinity."""
    bounded = found["bounded"][:, index]
    per_decade = pair.reference_gain @ truth.means / pair.decades
    factors = []
    for effect, ends in zip(truth.effects, found["factor"][..., index].swapaxes(0, 1)):
        known = np.where(bounded[:, np.newaxis], ends, [0, np.inf])
        low, high = np.median(known, axis=0)
        factors.append((float(10 ** (effect / per_decade)), float(low), float(high)))
    return Multiplier(pair.architecture, tuple(factors), float(1 - bounded.mean()))


def _own_gain(design, name, intervals, truth) -> Gain:
    """Intervals of one architecture, less the truth: [draws, 2]."""
    cells = design.cells_of(name)
    low, high = intervals.T
    on_curve = float(contrasts.own_gain(design, name) @ truth.means)
    return Gain(
        architecture=name,
        sizes=_named(design, cells[0], cells[-1]),
        half_width=float(np.median(high - low) / 2),
        found=tuple(float(np.mean(low + effect > 0)) for effect in truth.effects),
        on_curve=on_curve,
        found_on_curve=float(np.mean(low + on_curve > 0)),
    )


def _steps(design, name, found, truth) -> list[Gain]:
    """One architecture's steps by rising FLOPs."""
    cells = design.cells_of(name)
    shares = found[f"steps {name}"].mean(axis=0)  # [E + 1, steps]
    widths = np.median(found[f"step {name}"], axis=0)
    return [
        Gain(
            architecture=name,
            sizes=_named(design, small, large),
            half_width=float(width),
            found=tuple(map(float, own[:-1])),
            on_curve=float(truth.means[small] - truth.means[large]),
            found_on_curve=float(own[-1]),
        )
        for small, large, width, own in zip(cells, cells[1:], widths, shares.T)
    ]


def _named(design, smaller, larger) -> str:
    return f"{design.cells[smaller].name} to {design.cells[larger].name}"


def _held_out(design, asked, found, truth) -> HeldOut | None:
    """How often a size held out gets each verdict."""
    if asked.held_out is None:
        return None
    # A new loss far off is always contradicted, so that is never out of reach.
    can_support = np.mean(found["can support"])
    reached = {
        held_out.Verdict.SUPPORTED: can_support,
        held_out.Verdict.UNINFORMATIVE: 1 - can_support,
    }
    largest = design.cells_of(asked.reference)[-1]
    return HeldOut(
        size=asked.held_out,
        step=float(truth.means[largest] - truth.new[0]),
        width=float(np.median(found["width"])),
        shares=tuple(
            _shares(found["verdict"][:, e], held_out.Verdict)
            for e in range(len(truth.effects))
        ),
        out_of_reach=tuple(v.value for v, share in reached.items() if share < _REACH),
    )
