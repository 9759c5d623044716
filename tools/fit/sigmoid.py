"""Fits a score as a sigmoid: low + (high - low) / (1 + exp(-k (x - m))).

The ends are given, chance and a perfect score, so that a handful of sizes fits the two
others. x is better the higher it is: a log-likelihood, or a loss with its sign changed.
For a given k the best m is searched from a grid, and k from a grid of its whole range,
so that the result does not depend on a starting point. The interval of k is its
profile.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import optimize
from scipy import special

from clinometer.tools.fit import profiles
from clinometer.tools.fit.errors import FitError

# k times the range of x: from nearly straight to a step.
_RANGE = (0.05, 60.0)
_GRID = 40
_MIDDLES = 41
_DETERMINED_WITHIN = 2.0


@dataclasses.dataclass(frozen=True)
class Sigmoid:
    """A fitted sigmoid.

    Attributes:
        low: score at the bottom, as given.
        high: score at the top, as given.
        rate: k, per unit of x.
        middle: m, in units of x.
        rmse: square root of the mean squared residual, in units of the score.
        r_squared: coefficient of determination; NaN if the scores do not vary.
        rate_interval: 95 % profile interval of k.
        at_bound: whether this interval reaches an end of the range of k.
    """

    low: float
    high: float
    rate: float
    middle: float
    rmse: float
    r_squared: float
    rate_interval: tuple[float, float]
    at_bound: bool

    @property
    def determined(self) -> bool:
        """Whether k's interval is narrow and clear of the ends of its range."""
        low, high = self.rate_interval
        return not self.at_bound and high < _DETERMINED_WITHIN * low

    def predict(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the score at x, in float64 with the same shape."""
        return self.low + (self.high - self.low) * special.expit(
            self.rate * (np.asarray(x, np.float64) - self.middle)
        )


def fit(
    x: Sequence[float] | np.ndarray,
    score: Sequence[float] | np.ndarray,
    low: float = 0.0,
    high: float = 100.0,
) -> Sigmoid:
    """Fits a sigmoid by least squares.

    Args:
        x: [n], finite.
        score: [n], in the units of low and high.
        low: the score of a guess.
        high: the score of a perfect model.

    Raises:
        FitError: fewer than 3 distinct x, values that are not finite, or low not below
            high.
    """
    x, score = np.asarray(x, np.float64), np.asarray(score, np.float64)
    if x.ndim != 1 or x.shape != score.shape:
        raise FitError("x and score must be lists of equal length")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(score))):
        raise FitError("x and score must be finite")
    if not low < high:
        raise FitError(f"low is {low}; accepted: a score below high, {high}")
    distinct = len(np.unique(x))
    if distinct < 3:
        raise FitError(
            f"a sigmoid (2 constants) needs 3 or more distinct x, got {distinct}"
        )
    span, center = float(np.ptp(x)), float(x.mean())
    u = (x - center) / span
    share = (score - low) / (high - low)

    def solve(rate: float) -> tuple[float, float]:
        """Returns the rss and the best middle for a rate."""

        def rss(middle: float | np.ndarray) -> np.ndarray:
            apart = u - np.asarray(middle)[..., np.newaxis]
            return ((special.expit(rate * apart) - share) ** 2).sum(axis=-1)

        # Beyond these the scores would all be within 0.1 % of an end.
        reach = 1 + 7 / rate
        middles = np.linspace(-reach, reach, _MIDDLES)
        best = int(np.argmin(rss(middles)))
        found = optimize.minimize_scalar(
            rss,
            bounds=(middles[max(best - 1, 0)], middles[min(best + 1, _MIDDLES - 1)]),
            method="bounded",
            options={"xatol": 1e-12},
        )
        return float(found.fun), float(found.x)

    grid = np.geomspace(*_RANGE, _GRID)
    best = int(np.argmin([solve(rate)[0] for rate in grid]))
    found = optimize.minimize_scalar(
        lambda rate: solve(rate)[0],
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    rate = float(found.x)
    rss, middle = solve(rate)
    ends = profiles.interval(
        lambda r: solve(r)[0],
        rate,
        grid,
        profiles.limit(rss, len(u), 2),
        float(np.sum(share**2)),
    )
    total = float(np.sum((share - share.mean()) ** 2))
    return Sigmoid(
        low=low,
        high=high,
        rate=rate / span,
        middle=center + middle * span,
        rmse=float(np.sqrt(rss / len(u))) * (high - low),
        r_squared=1 - rss / total if total > 0 else float("nan"),
        rate_interval=(ends[0] / span, ends[1] / span),
        at_bound=ends[0] <= _RANGE[0] or ends[1] >= _RANGE[1],
    )
