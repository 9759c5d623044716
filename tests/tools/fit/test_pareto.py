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


def test_probabilities_agree_with_draws():
    rng = np.random.default_rng(3)
    cost = np.array([1.0, 2, 2, 3, 4, 5])
    quality = np.array([1.0, 1.1, 1.15, 1.12, 1.3, 1.28])
    error = np.array([0.05, 0.04, 0.001, 0.1, 0.0, 0.03])
    drawn = quality + error * rng.standard_normal((40_000, 6))
    for i, found in enumerate(pareto.probability(cost, quality, error)):
        rivals = [j for j in range(6) if j != i and cost[j] <= cost[i]]
        if rivals:
            share = np.mean(drawn[:, i] > drawn[:, rivals].max(axis=1))
        else:
            share = 1.0
        # 4 standard errors of a share of 40,000 draws are at most 0.01.
        assert found == pytest.approx(share, abs=0.01)
    # Mutation: with other errors, other probabilities.
    other = pareto.probability(cost, quality, 2 * error)
    assert abs(other[1] - pareto.probability(cost, quality, error)[1]) > 0.01


def test_without_errors_probabilities_are_the_frontier():
    rng = np.random.default_rng(4)
    cost, quality = rng.permutation(30), rng.permutation(30)
    found = pareto.probability(cost, quality, np.zeros(30))
    kept = set(pareto.frontier(cost, quality))
    assert [i in kept for i in range(30)] == (found == 1).tolist()
    assert set(found) == {0.0, 1.0}


@pytest.mark.parametrize("error", [[-1.0, 0.0], [float("nan"), 0.0], [0.0]])
def test_bad_errors(error):
    with pytest.raises(errors.FitError, match="errors"):
        pareto.probability([1, 2], [1, 2], error)
