"""What a design could detect, by simulating it before it runs.

Losses are drawn around a curve that all architectures share, so that at equal FLOPs
all are equal, and analysed exactly as a study's would be. Standard errors do not depend
on the means, so one simulation serves every true difference: the intervals only move.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import simultaneous
from clinometer.tools.inference import steps as steps_lib

Curve = Callable[[np.ndarray], np.ndarray]  # Training FLOPs to nats.

# A difference counts as detectable if this share of studies finds it.
_POWER = 0.8
# An outcome is out of reach if no true difference up to twice the margin gives it in
# this share of studies.
_REACH = 0.01
_TRUTHS = np.linspace(-2, 2, 81)  # In margins.


@dataclasses.dataclass(frozen=True)
class Comparable:
    """One architecture's level, or difference of gain, against the reference.

    Attributes:
        architecture: the architecture.
        quantity: "level" or "difference of gain".
        half_width: median half-width of the simultaneous interval, nats.
        detectable: true difference found in 80 % of studies, nats.
        found_at_margin: share of studies that find a difference of the margin.
        equal: outcome -> share of studies, at no difference.
        out_of_reach: outcomes that the design cannot reach.
    """

    architecture: str
    quantity: str
    half_width: float
    detectable: float
    found_at_margin: float
    equal: dict[str, float]
    out_of_reach: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Steps:
    """One architecture's gain with size, on the curve.

    Attributes:
        architecture: the architecture.
        own_gain: share of studies whose interval of the own gain lies above 0.
        clear: "d16 to d32" -> share of studies that find the step.
    """

    architecture: str
    own_gain: float
    clear: dict[str, float]


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """A size held out, on the curve and predicted from the reference.

    Attributes:
        flops: training FLOPs of the held-out size.
        step: its true gain over the largest size, nats.
        width: median width of the prediction's interval, nats.
        verdicts: verdict -> share of studies, the law being true.
        out_of_reach: verdicts that the design cannot reach.
    """

    flops: float
    step: float
    width: float
    verdicts: dict[str, float]
    out_of_reach: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Power:
    """What a design could detect.

    Attributes:
        draws: number of simulated studies.
        margin: the margin, nats.
        comparisons: one per architecture and quantity.
        crossovers: architecture -> share of studies that find a difference of the
            margin at one end and of minus the margin at the other.
        steps: one per architecture.
        held_out: the prediction of a larger size, if asked for.
    """

    draws: int
    margin: float
    comparisons: tuple[Comparable, ...]
    crossovers: dict[str, float]
    steps: tuple[Steps, ...]
    held_out: HeldOut | None


def bent_curve(
    low_flops: float, high_flops: float, loss: float, gain: float, bend: float
) -> Curve:
    """A power law with a floor, by what can be seen of it.

    Args:
        low_flops: training FLOPs of the smallest size.
        high_flops: of the largest.
        loss: at the smallest size, nats.
        gain: from the smallest size to the largest, nats.
        bend: by which factor the gain per decade falls over that range, above 1.

    Raises:
        InferenceError: an empty range, or a bend that is not above 1.
    """
    span = contrasts.decades(low_flops, high_flops) * np.log(10)
    if not bend > 1:
        raise errors.InferenceError(f"bend is {bend}; accepted: a factor above 1")
    exponent = np.log(bend) / span

    def curve(flops: np.ndarray) -> np.ndarray:
        fallen = 1 - (np.asarray(flops, np.float64) / low_flops) ** -exponent
        return loss - gain * fallen / (1 - 1 / bend)

    return curve


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
    reference: str,
    curve: Curve,
    sd: float | Mapping[int, float],
    margin: float,
    order_sd: float = 0.0,
    held_out_size: tuple[int, float, int] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Power:
    """Simulates a design.

    Args:
        design: which runs there are to be.
        reference: the architecture that the others are compared with.
        curve: true loss of all architectures, by training FLOPs.
        sd: of a run around its cell and order, nats: one, or by width.
        margin: the largest difference that would not matter, nats.
        order_sd: of the orders' effects, nats; matters for the size held out only.
        held_out_size: d_model, training FLOPs and runs of a size to be predicted from
            the reference, each of its runs in a new order.
        draws: studies to simulate.
        seed: of the random numbers.

    Raises:
        InferenceError: an unknown reference, fewer than three sizes, no replicates, or
            a margin or sd out of range.
    """
    outcomes.check_margin(margin)
    design.cells_of(reference)
    means = curve(design.flops_of(range(len(design.cells))))
    losses = draw_losses(design, means, sd, order_sd=order_sd, draws=draws, seed=seed)
    fitted = linear_model.fit(design, losses)
    compared: list[Comparable] = []
    crossings: dict[str, float] = {}
    if len(design.architectures) > 1:
        pairs = equal_compute.compare_all(design, reference)
        for quantity, rows, good in (
            ("level", [p.level for p in pairs], False),
            ("difference of gain", [p.gain_difference for p in pairs], True),
        ):
            judged = simultaneous.family(fitted, np.array(rows))
            compared += [
                _comparable(judged, i, pair.architecture, quantity, margin, good)
                for i, pair in enumerate(pairs)
            ]
        crossings = _crossings(fitted, pairs, margin)
    held = None
    if held_out_size is not None:
        held = _held_out(fitted, reference, curve, sd, order_sd, held_out_size, seed)
    return Power(
        draws=draws,
        margin=margin,
        comparisons=tuple(compared),
        crossovers=crossings,
        steps=tuple(_steps(fitted, name) for name in design.architectures),
        held_out=held,
    )


def lines(power: Power) -> list[str]:
    """The result as lines of plain text."""
    text = [
        f"{power.draws} simulated studies, all architectures equal at equal FLOPs; "
        f"margin {power.margin:.3f} nats"
    ]
    for c in power.comparisons:
        missing = ", ".join(c.out_of_reach) or "none"
        text.append(
            f"{c.architecture}, {c.quantity}: +-{c.half_width:.3f} nats; finds "
            f"{c.detectable:.3f} nats in {_POWER:.0%} of studies and the margin in "
            f"{c.found_at_margin:.0%}; calls equal ones equivalent in "
            f"{c.equal[outcomes.Outcome.EQUIVALENT]:.0%}; out of reach: {missing}"
        )
    for name, share in power.crossovers.items():
        text.append(
            f"{name}, crossover from the margin above to the margin below: found in "
            f"{share:.0%}"
        )
    for s in power.steps:
        each = ", ".join(f"{step} in {share:.0%}" for step, share in s.clear.items())
        text.append(
            f"{s.architecture}: gain over its range found in {s.own_gain:.0%}; {each}"
        )
    if power.held_out is not None:
        h = power.held_out
        missing = ", ".join(h.out_of_reach) or "none"
        text.append(
            f"size held out at {h.flops:.3g} FLOPs: true step {h.step:.4f} nats, "
            f"interval {h.width:.4f} nats wide; out of reach: {missing}"
        )
    return text


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


def _comparable(judged, index, architecture, quantity, margin, higher_is_better):
    """What one contrast of a family can reach."""
    low, high = judged.low[:, index], judged.high[:, index]
    shares = []
    for truth in _TRUTHS * margin:
        found = outcomes.classify(
            low + truth, high + truth, margin, higher_is_better=higher_is_better
        )
        shares.append(
            {o.value: float(np.mean(found == o.value)) for o in outcomes.Outcome}
        )
    # An interval excludes 0 on the right side for a truth above -low of its draw.
    return Comparable(
        architecture=architecture,
        quantity=quantity,
        half_width=float(np.median(high - low) / 2),
        detectable=float(np.quantile(-low, _POWER)),
        found_at_margin=float(np.mean(low + margin > 0)),
        equal=shares[len(_TRUTHS) // 2],
        out_of_reach=tuple(
            o.value for o in outcomes.Outcome if max(s[o] for s in shares) < _REACH
        ),
    )


def _crossings(fitted, pairs, margin) -> dict[str, float]:
    """How often D of margin at the low end and -margin at the high end is found.

    One architecture crosses at a time, the others being equal, as Holm depends on all.
    """
    design, shares = fitted.design, {}
    for i, pair in enumerate(pairs):
        # Linear in C^(-1/2), which readings at equal FLOPs follow exactly.
        cells = design.cells_of(pair.architecture)
        ends = np.array([pair.low_flops, pair.high_flops]) ** -0.5
        u = (design.flops_of(cells) ** -0.5 - ends[1]) / (ends[0] - ends[1])
        shift = np.zeros(len(design.cells))
        shift[cells] = margin * (2 * u - 1)
        p, _ = crossover.p_values(
            dataclasses.replace(fitted, means=fitted.means + shift), pairs
        )
        shares[pair.architecture] = float(np.mean(p[:, i] <= 0.05))
    return shares


def _steps(fitted, architecture) -> Steps:
    """How often an architecture's gains are found on the curve."""
    design = fitted.design
    own = contrasts.estimate(
        fitted, contrasts.own_gain(design, architecture)[np.newaxis]
    )
    clear = steps_lib.p_values(fitted, architecture) <= 0.05
    widths = [design.cells[i].width for i in design.cells_of(architecture)]
    return Steps(
        architecture=architecture,
        own_gain=float(np.mean(own.interval()[0] > 0)),
        clear={
            f"d{a} to d{b}": float(share)
            for a, b, share in zip(widths, widths[1:], clear.mean(axis=0))
        },
    )


def _held_out(fitted, reference, curve, sd, order_sd, size, seed) -> HeldOut:
    """How often a size held out gets each verdict where the curve holds."""
    width, flops, runs = size
    own = held_out.own_variance(fitted, width, runs, runs)
    predicted = held_out.predict(fitted, reference, flops, own)
    noise = _sd_of_widths(fitted.design, sd, (width,))[-1]
    largest = fitted.design.cells_of(reference)[-1:]
    truth = float(curve(np.array([flops]))[0])
    rng = np.random.default_rng([seed, 1])
    spread = np.sqrt((noise**2 + order_sd**2) / runs)
    new = truth + spread * rng.standard_normal(len(fitted.means))
    verdicts = held_out.judge(predicted, new)
    # A new loss far off is always contradicted, so that is never out of reach.
    can_support = np.mean(predicted.determined & predicted.narrow)
    missing = []
    if can_support < _REACH:
        missing.append(held_out.Verdict.SUPPORTED)
    if can_support > 1 - _REACH:
        missing.append(held_out.Verdict.UNINFORMATIVE)
    return HeldOut(
        flops=float(flops),
        step=float(curve(fitted.design.flops_of(largest))[0]) - truth,
        width=float(np.median(predicted.high - predicted.low)),
        verdicts={
            v.value: float(np.mean(verdicts == v.value)) for v in held_out.Verdict
        },
        out_of_reach=tuple(v.value for v in missing),
    )
