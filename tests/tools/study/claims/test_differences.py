"""Tests verdicts from differences."""

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.laws import points
from clinometer.tools.study.claims import differences
from clinometer.tools.study.claims import observed
from clinometer.tools.study.claims.claim import Outcome

_Difference = differences.Difference


@pytest.mark.parametrize(
    "given, outcome",
    [
        ({"a": (1.0, 0.1), "b": (0.5, 0.1)}, Outcome.SUPPORTED),
        ({"a": (1.0, 0.1), "b": (-0.5, 0.1)}, Outcome.CONTRADICTED),
        ({"a": (1.0, 0.1), "b": (0.1, 0.1)}, Outcome.UNDECIDED),
        ({"a": (1.0, None)}, Outcome.UNDECIDED),
        # 2.1 standard errors are enough for one difference, not for one of two.
        ({"a": (0.21, 0.1)}, Outcome.SUPPORTED),
        ({"a": (0.21, 0.1), "b": (1.0, 0.1)}, Outcome.UNDECIDED),
    ],
)
def test_all_hold(given, outcome):
    found = {name: _Difference(*values) for name, values in given.items()}
    verdict = differences.all_hold(found)
    assert verdict.outcome is outcome
    assert verdict.numbers == {name: value for name, (value, _) in given.items()}


@pytest.mark.parametrize(
    "given, outcome",
    [
        ({"a": (0.0, 0.1), "b": (-0.5, 0.1)}, Outcome.SUPPORTED),
        ({"a": (0.0, 0.1), "b": (0.1, 0.1)}, Outcome.CONTRADICTED),
        ({"a": (0.0, 0.1), "b": (0.1, 0.5)}, Outcome.UNDECIDED),
        ({"a": (0.0, None)}, Outcome.UNDECIDED),
    ],
)
def test_any_holds(given, outcome):
    found = {name: _Difference(*values) for name, values in given.items()}
    assert differences.any_holds(found, 0.4).outcome is outcome


def test_intervals():
    # Student's 97.5 % for 3 degrees of freedom is 3.182.
    low, high = _Difference(1.0, 0.1, 3).interval()
    assert (low, high) == pytest.approx((1 - 0.3182, 1 + 0.3182), abs=1e-4)
    assert _Difference(1.0, 0.1, 3).interval(5)[1] > high
    assert _Difference(1.0, None).interval() is None


def test_of_points():
    rows = ladders.ladder(sizes=ladders.SIZES[:2], replicates=2, noise=0.1)
    found = points.of_frame(ladders.frame(rows), (points.LOSS,))
    small, large = found.points
    gap = differences.of_points(found, points.LOSS, ((small, 1.0), (large, -1.0)))
    assert gap.value == pytest.approx(small.mean(points.LOSS) - large.mean(points.LOSS))
    assert gap.error == pytest.approx(2**0.5 * small.error(points.LOSS))
    assert gap.degrees == 2


def test_need():
    assert differences.need([1], "x") == [1]
    with pytest.raises(observed.UndecidableError, match="there are no x"):
        differences.need([], "x")
