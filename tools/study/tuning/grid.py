"""The learning rates that a size is swept with."""

from collections.abc import Mapping
import math

# Positions on the grid are half octaves from here: position 2 is twice this rate.
_CENTER = 0.03
_FIRST = (-2, 0, 2)
# The sweep goes no further than a factor of 64 from the center.
_FURTHEST = 12


def rate_at(position: int) -> float:
    """Returns the rate at a position, rounded to six digits as in the runs' names."""
    return rounded(_CENTER * 2 ** (position / 2))


def rounded(rate: float) -> float:
    """Returns a rate rounded to six significant digits."""
    return float(f"{rate:.6g}")


def lowest(losses: Mapping[float, float]) -> float:
    """Returns the rate with the lowest loss; the lower one of two equal ones.

    Args:
        losses: rate -> validation loss, infinite for a run that diverged.
    """
    return min(losses, key=lambda rate: (losses[rate], rate))


def next_rates(losses: Mapping[float, float]) -> tuple[float, ...]:
    """Returns the rates to try next; none if the sweep is complete.

    The rates are factors of two apart and extended until the lowest loss has a higher
    one on both sides. Two rates at factors of sqrt 2 around the lowest complete them.

    Args:
        losses: rate -> validation loss of the grid's rates so far.
    """
    done = {_position(rate): loss for rate, loss in losses.items()}
    missing = [position for position in _FIRST if position not in done]
    if missing:
        return tuple(map(rate_at, missing))
    coarse = sorted(position for position in done if position % 2 == 0)
    best = min(coarse, key=lambda position: (done[position], position))
    if best == coarse[0] and best > -_FURTHEST:
        return (rate_at(best - 2),)
    if best == coarse[-1] and best < _FURTHEST:
        return (rate_at(best + 2),)
    around = [best - 1, best + 1]
    return tuple(
        rate_at(position)
        for position in around
        if position not in done and coarse[0] < position < coarse[-1]
    )


def is_interior(losses: Mapping[float, float]) -> bool:
    """Returns whether the lowest loss has a higher one on both sides."""
    return min(losses) < lowest(losses) < max(losses)


def is_on_grid(rate: float) -> bool:
    """Returns whether a rate is one of the grid's."""
    return rate_at(_position(rate)) == rate


def _position(rate: float) -> int:
    return round(2 * math.log2(rate / _CENTER))
