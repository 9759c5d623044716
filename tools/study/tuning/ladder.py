"""Tunes the sizes of one architecture: both ends, then a check below the largest."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

from clinometer.tools.study.tuning import grid
from clinometer.tools.study.tuning import line
from clinometer.tools.study.tuning import optimum
from clinometer.tools.study.tuning import parabola

# width -> rate -> validation loss, infinite for a run that diverged.
Losses = Mapping[int, Mapping[float, float]]


@dataclasses.dataclass(frozen=True)
class CheckedSize:
    """The check of the line at the size below the largest.

    Attributes:
        width: the size's width.
        rate: the line's rate.
        above: loss at sqrt 2 times the rate, infinite if that run diverged.
        below: loss at the rate over sqrt 2.
        result: what they say about the rate.
    """

    width: int
    rate: float
    above: float
    below: float
    result: optimum.Check


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What is known of the rates of one architecture.

    Attributes:
        missing: (width, rate) of the runs to make next; none if it is tuned.
        sweeps: width -> rate -> loss, of the rates on the grid.
        optima: width -> its optimum, for the sizes swept so far.
        parabolas: fitted to the sweeps.
        check: the check of the line, or None if there is no size between the ends or
            its runs are missing.
    """

    missing: tuple[tuple[int, float], ...]
    sweeps: Losses
    optima: Mapping[int, optimum.Optimum]
    parabolas: parabola.Parabolas | None
    check: CheckedSize | None

    @property
    def rates(self) -> dict[int, float]:
        """The tuned rate of each swept width."""
        return {width: found.rate for width, found in self.optima.items()}


def tune(widths: Sequence[int], losses: Losses) -> Tuning:
    """Returns what follows from the sweep's losses so far.

    Args:
        widths: the widths of the ladder.
        losses: of the finished sweep runs, at any width and rate.
    """
    widths = sorted(set(widths))
    swept = sorted({widths[0], widths[-1]})
    begun = _tune(swept, losses)
    if begun.missing or len(widths) < 3:
        return begun
    middle = widths[-2]
    found = line.rate(middle, begun.rates)
    assert found is not None  # Two sizes make a line.
    rate = found[0]
    above, below = grid.rounded(rate * 2**0.5), grid.rounded(rate / 2**0.5)
    known = losses.get(middle, {})
    missing = [(middle, each) for each in (below, above) if each not in known]
    if missing:
        return dataclasses.replace(begun, missing=tuple(missing))
    result = optimum.check(known[above], known[below], begun.parabolas)
    checked = CheckedSize(middle, rate, known[above], known[below], result)
    if not result.passed:
        begun = _tune([*swept, middle], losses)
    return dataclasses.replace(begun, check=checked)


def _tune(widths: Sequence[int], losses: Losses) -> Tuning:
    """Sweeps these sizes, as far as their losses are known."""
    sweeps = {width: _on_grid(losses.get(width, {})) for width in sorted(widths)}
    missing = tuple(
        (width, rate)
        for width, found in sweeps.items()
        for rate in grid.next_rates(found)
    )
    if missing:
        return Tuning(missing, sweeps, {}, None, None)
    parabolas = parabola.fit(sweeps)
    optima = {
        width: optimum.find(found, parabolas, width) for width, found in sweeps.items()
    }
    return Tuning((), sweeps, optima, parabolas, None)


def never_trained(tuning: Tuning) -> list[int]:
    """Returns the swept widths at which every run diverged."""
    return [
        width
        for width, losses in tuning.sweeps.items()
        if losses and not any(map(math.isfinite, losses.values()))
    ]


def _on_grid(losses: Mapping[float, float]) -> dict[float, float]:
    """Returns the losses at the grid's own rates, without those of a check."""
    return {rate: loss for rate, loss in losses.items() if grid.is_on_grid(rate)}
