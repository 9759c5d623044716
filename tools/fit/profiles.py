"""Profile intervals: all values of a constant with which the rest still fits."""

from collections.abc import Callable

import numpy as np
from scipy import optimize
from scipy import stats

# Residuals of exact data are rounding errors, whose profile means nothing.
_ROUNDING = 1e-12


def limit(rss: float, points: int, constants: int, confidence: float = 0.95) -> float:
    """Returns the largest residual sum of squares inside a profile interval.

    It is (1 + t^2 / (n - p)) times the smallest, with Student's t for n - p degrees of
    freedom.

    Args:
        rss: the smallest.
        points: n.
        constants: p, below n.
        confidence: of the interval.
    """
    freedom = points - constants
    t = float(stats.t.ppf(0.5 + confidence / 2, freedom))
    return rss * (1 + t**2 / freedom)


def interval(
    rss: Callable[[float], float],
    best: float,
    grid: np.ndarray,
    largest: float,
    scale: float,
) -> tuple[float, float]:
    """Returns the interval around `best` in which rss(value) is at most `largest`.

    Args:
        rss: residual sum of squares of the best fit for a given value. It is called
            outwards from `best`, so that it may start from where it was.
        best: the value with the smallest one.
        grid: values of the whole range, in any order; where the interval reaches the
            range's end, it is that end.
        largest: see `limit`.
        scale: sum of squares of the fitted values, for the size of rounding errors.
    """
    largest = max(largest, rss(best), scale * _ROUNDING**2)
    grid = np.sort(grid)

    def end(outwards: np.ndarray) -> float:
        inside = best
        for value in outwards:
            if rss(value) > largest:
                return float(
                    optimize.brentq(
                        lambda v: rss(v) - largest, inside, value, xtol=1e-9
                    )
                )
            inside = value
        return float(inside)

    return end(grid[grid < best][::-1]), end(grid[grid > best])
