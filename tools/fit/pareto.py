"""The Pareto frontier of Tay et al. 2021: what no cheaper model equals."""

from collections.abc import Sequence

from clinometer.tools.fit.errors import FitError


def frontier(cost: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of the points on the frontier, by rising cost.

    Rule: sort by cost ascending, then quality descending; a point stays if its quality
    lies strictly above the running maximum. So of two equal points the first given
    stays, and a dearer point of equal quality goes.

    Args:
      cost: lower is better, [n].
      quality: higher is better, [n].

    Raises:
      FitError: the lists differ in length, or hold NaN.
    """
    if len(cost) != len(quality):
        raise FitError(f"{len(cost)} costs but {len(quality)} qualities")
    if any(value != value for value in (*cost, *quality)):
        raise FitError("a frontier cannot hold NaN")
    order = sorted(range(len(cost)), key=lambda i: (cost[i], -quality[i], i))
    kept: list[int] = []
    best = float("-inf")
    for i in order:
        if quality[i] > best:
            kept.append(i)
            best = quality[i]
    return kept
