"""The Pareto frontier of cost and quality, as in Tay et al. 2021."""

from collections.abc import Sequence

from clinometer.tools.fit.errors import FitError


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
