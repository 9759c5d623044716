"""The Pareto frontier of cost and quality, as in Tay et al. 2021."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from clinometer.tools.fit.errors import FitError

# Standard normal values that the integral over a quality is summed at.
_NODES = np.linspace(-8, 8, 2001)


def frontier(cost: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Returns the indices of the points on the Pareto frontier, by ascending cost.

    Points are sorted by ascending cost and then by descending quality. A point is on
    the frontier if its quality is strictly higher than that of all points before it. Of
    two equal points only the first is kept, and a more expensive point of equal quality
    is dropped.

    Args:
        cost: [n], lower is better.
        quality: [n], higher is better.

    Raises:
        FitError: the lists differ in length or contain NaN.
    """
    if len(cost) != len(quality):
        raise FitError(f"{len(cost)} costs but {len(quality)} qualities")
    if any(value != value for value in (*cost, *quality)):
        raise FitError("cost and quality must not contain NaN")
    order = sorted(range(len(cost)), key=lambda i: (cost[i], -quality[i], i))
    kept: list[int] = []
    best = float("-inf")
    for i in order:
        if quality[i] > best:
            kept.append(i)
            best = quality[i]
    return kept


def probability(
    cost: Sequence[float],
    quality: Sequence[float],
    standard_error: Sequence[float],
) -> np.ndarray:
    """Returns each point's probability of being on the frontier of true qualities.

    True qualities are taken as independent and normal around the measured ones. A point
    belongs if its quality is above those of all points that cost no more, so that the
    probability is the integral over its own quality of the product of the others'
    distributions. With errors of 0 it is 1 for the points of `frontier` and 0 for the
    others, but that of several equal points none is better than the other.

    Args:
        cost: [n], lower is better.
        quality: [n], higher is better.
        standard_error: of the qualities, [n], 0 or more.

    Returns:
        [n], in [0, 1].

    Raises:
        FitError: the lists differ in length, contain NaN, or an error is below 0.
    """
    cost, quality = np.asarray(cost, np.float64), np.asarray(quality, np.float64)
    error = np.asarray(standard_error, np.float64)
    if not cost.shape == quality.shape == error.shape:
        raise FitError(
            f"{len(cost)} costs, {len(quality)} qualities and {len(error)} errors"
        )
    if np.any(np.isnan([cost, quality, error])) or np.any(error < 0):
        raise FitError("cost, quality and errors must be no NaN, and errors 0 or more")
    weights = np.exp(-(_NODES**2) / 2)
    weights /= weights.sum()
    found = np.zeros(len(cost))
    low, high = quality - 8 * error, quality + 8 * error
    for i in range(len(cost)):
        rivals = (cost <= cost[i]) & (np.arange(len(cost)) != i)
        if np.any(low[rivals] > high[i]):  # Surely worse than one of them.
            continue
        rivals &= high >= low[i]  # Surely better than the others.
        own = quality[i] + error[i] * _NODES[:, np.newaxis]  # [nodes, 1]
        gap = own - quality[rivals]  # [nodes, rivals]
        with np.errstate(divide="ignore", invalid="ignore"):
            below = special.ndtr(gap / error[rivals])
        below = np.where(error[rivals] > 0, below, gap > 0)
        found[i] = weights @ np.prod(below, axis=1)
    return np.clip(found, 0, 1)
