"""Shows what a planned study could detect, as text."""

from collections.abc import Iterator
from collections.abc import Sequence
import math
import textwrap

from clinometer.kernels import terminal
from clinometer.models.architectures import registry
from clinometer.tools.inference import held_out
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import power as power_lib
from clinometer.tools.study.power import inputs as inputs_lib

_COLUMNS = 96
_DETECTABLE = f"{100 * power_lib.DETECTABLE:.0f} %"


def lines(inputs: inputs_lib.Inputs, power: power_lib.Power, seed: int) -> list[str]:
    """Returns the lines of the result.

    Args:
        inputs: what was simulated.
        power: what it found.
        seed: of the simulation's random numbers.
    """
    error = 100 * 1.96 * math.sqrt(0.25 / power.draws)
    simulation = (
        f"simulation: {power.draws:,} studies, seed {seed}; shares are exact to "
        f"{error:.1f} points or better"
    )
    return [
        *(line for told in (*inputs.told, simulation) for line in _wrapped(told)),
        "",
        *_unknown(power),
        *_out_of_reach(power),
        *_compared(power),
        *_crossovers(power),
        *_multipliers(power),
        *_gains(power),
        *_held_out(power),
    ]


def _unknown(power) -> Iterator[str]:
    """What no result of the design can say."""
    messages = list(power.unknown)
    if power.reference is None:
        messages.append(
            f"architecture: {registry.REFERENCE} is not among them, and the others are "
            "compared with it only"
        )
    if not power.has_slope:
        messages.append(
            "replicates: too few at one end of the widths to tell whether the spread "
            "of runs depends on width; one sd is assumed for all"
        )
    if messages:
        yield "This design cannot tell:"
        for message in messages:
            yield from _wrapped(f"  {message}")
        yield ""


def _out_of_reach(power) -> Iterator[str]:
    """Outcomes that hardly any study gives, whatever the truth."""
    found = []
    for quantity, family in (
        ("level", power.levels),
        ("difference of gain", power.gains),
    ):
        for outcome in outcomes.Outcome:
            names = [c.architecture for c in family if outcome.value in c.out_of_reach]
            if names:
                which = "all" if len(names) == len(family) else ", ".join(names)
                found.append(f'{quantity} "{outcome.value}": {which}')
    if power.held_out is not None:
        found += (f'size held out "{v}"' for v in power.held_out.out_of_reach)
    if power.levels or power.held_out is not None:
        yield from _wrapped(
            "Outcomes out of reach, in less than 1 % of studies at every difference up "
            "to two margins:"
        )
        for words in found or ["none"]:
            yield from _wrapped(f"  {words}")
        yield ""


def _compared(power) -> Iterator[str]:
    """Levels and differences of gain: each outcome at each effect."""
    for family, what, sign in (
        (
            power.levels,
            f"Level: loss less {power.reference}'s at equal FLOPs, average of both "
            "ends of the shared range.",
            "higher loss",
        ),
        (
            power.gains,
            f"Difference of gain: gain over the shared range less {power.reference}'s.",
            "larger gain",
        ),
    ):
        if not family:
            continue
        kinds = [outcome.value for outcome in outcomes.Outcome]
        body = []
        for one in family:
            first = (one.architecture, f"{one.half_width:.3f}", f"{one.detectable:.3f}")
            for effect, shares in zip(power.effects, one.shares):
                each = (_percent(shares[kind]) for kind in kinds)
                body.append((*first, _effect(effect, power.margin), *each))
                first = ("", "", "")
        yield from _wrapped(
            f"{what} Simultaneous 95 % intervals of {len(family)}. An effect is a "
            f"{sign}; one of the other sign is found as often."
        )
        head = ("architecture", "+-nats", f"finds ({_DETECTABLE})", "effect", *kinds)
        yield from _table(body, head)


def _crossovers(power) -> Iterator[str]:
    if power.crossovers:
        yield from _wrapped(
            "Crossover: found where the loss is above by the effect at one end of the "
            "shared range and below by it at the other; otherwise no change of sign."
        )
        body = [
            (name, *map(_percent, shares)) for name, shares in power.crossovers.items()
        ]
        yield from _table(body, ("architecture", *_effects(power)))


def _multipliers(power) -> Iterator[str]:
    if power.multipliers:
        yield from _wrapped(
            "Compute multiplier: what an effect on the level is as a factor of "
            "compute, with the median interval."
        )
        body = [
            (
                one.architecture,
                *(_factor(*each) for each in one.factors),
                _percent(one.unbounded),
            )
            for one in power.multipliers
        ]
        yield from _table(body, ("architecture", *_effects(power), "unbounded"))


def _gains(power) -> Iterator[str]:
    for gains, words in (
        (
            power.own_gains,
            "Own gain: found where its 95 % interval lies above 0.",
        ),
        (
            power.steps,
            "Steps: found where the larger size is better, by Holm over the steps of "
            "an architecture; an effect is that of all its steps.",
        ),
    ):
        if gains:
            body = [
                (
                    one.architecture,
                    one.sizes,
                    f"{one.half_width:.3f}",
                    *map(_percent, one.found),
                    f"{one.on_curve:.3f}",
                    _percent(one.found_on_curve),
                )
                for one in gains
            ]
            yield from _wrapped(words)
            head = ("architecture", "sizes", "+-nats", *_effects(power))
            yield from _table(body, (*head, "on the curve", "found"), left=(0, 1))


def _held_out(power) -> Iterator[str]:
    if power.held_out is not None:
        one = power.held_out
        yield from _wrapped(
            f"Size held out: d{one.size.width}, {one.size.flops:.3g} FLOPs, "
            f"{one.size.runs} runs in orders of their own. On the curve it gains "
            f"{one.step:.4f} nats; the median interval is {one.width:.4f} nats wide. "
            "An effect is a loss above the curve."
        )
        kinds = [verdict.value for verdict in held_out.Verdict]
        body = [
            (_effect(effect, power.margin), *(_percent(s[kind]) for kind in kinds))
            for effect, s in zip(power.effects, one.shares)
        ]
        yield from _table(body, ("effect", *kinds))


def _wrapped(text: str) -> list[str]:
    indent = len(text) - len(text.lstrip()) + 2
    return textwrap.wrap(text, _COLUMNS, subsequent_indent=" " * indent)


def _table(
    body: Sequence[Sequence[str]], head: Sequence[str], left: Sequence[int] = (0,)
) -> list[str]:
    return [*terminal.table(body, head, left=left), ""]


def _effects(power: power_lib.Power) -> list[str]:
    return [_effect(effect, power.margin) for effect in power.effects]


def _effect(effect: float, margin: float) -> str:
    return f"{effect:.3f}{' (m)' if effect == margin else ''}"


def _percent(share: float) -> str:
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def _factor(value: float, low: float, high: float) -> str:
    if math.isinf(high):
        return f"{value:.2f}x, unbounded"
    return f"{value:.2f}x [{low:.2f}, {high:.2f}]"
