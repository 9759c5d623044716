"""Compares the frontier with its definition by dominance, on points with ties."""

import numpy as np
import pytest

from clinometer.tools.fit import errors
from clinometer.tools.fit import pareto


def _by_dominance(cost, quality):
    """Returns the points that no other point dominates."""
    points = set(zip(cost, quality))
    return sorted(
        p
        for p in points
        if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
    )


def test_hand_made_case_with_ties():
    cost = [3, 1, 1, 2, 4, 1]
    quality = [5, 2, 4, 4, 5, 4]
    # (1,4) occurs twice; the first is kept. (2,4) and (4,5) have cheaper equals.
    assert pareto.frontier(cost, quality) == [2, 0]


def test_random_points_agree_with_dominance():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost = rng.integers(0, 8, 12).tolist()
        quality = rng.integers(0, 8, 12).tolist()
        kept = pareto.frontier(cost, quality)
        assert [(cost[i], quality[i]) for i in kept] == _by_dominance(cost, quality)


def test_lifting_a_dominated_point_changes_the_frontier():
    assert pareto.frontier([1, 2], [4, 4]) == [0]
    assert pareto.frontier([1, 2], [4, 5]) == [0, 1]


def test_bad_input():
    with pytest.raises(errors.FitError, match="2 costs but 1"):
        pareto.frontier([1, 2], [1])
    with pytest.raises(errors.FitError, match="NaN"):
        pareto.frontier([1, 2], [1, float("nan")])
