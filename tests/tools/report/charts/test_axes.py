"""Tests ticks and labels of axes."""

import pytest

from clinometer.tools.report.charts import axes


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2e13, 2.6e15, [3e13, 1e14, 3e14, 1e15]),
        (1e3, 1e12, [1e3, 1e5, 1e7, 1e9, 1e11]),
        (4e4, 9e4, [4e4, 5e4, 7e4]),
    ],
)
def test_logarithmic_ticks_are_round_and_few(low, high, expected):
    assert axes.log_ticks(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(4.18, 4.56, [4.2, 4.3, 4.4, 4.5]), (-0.07, 0.07, [-0.05, 0.0, 0.05])],
)
def test_linear_ticks_are_round_and_few(low, high, expected):
    assert axes.ticks(low, high, 4) == pytest.approx(expected)


def test_wide_intervals_leave_differences_of_scores_to_be_seen():
    low, high = axes.reach(axes.percent_reach([52.0, 61.0], [-400.0, 480.0, None]))
    # Three times the range of the scores, and the room that every axis has.
    assert (low, high) == pytest.approx((43 - 0.08 * 27, 70 + 0.08 * 27))
    # Scores stay between 0 and 100 %, and likelihoods below 0 are seen.
    assert max(axes.percent_reach([95.0], [90.0, 120.0])) == 100
    assert min(axes.percent_reach([-7.0, 1.0], [-300.0])) == -7


def test_labels():
    assert axes.power(3e14) == "3·10¹⁴" and axes.power(1e5) == "10⁵"
    assert axes.prefixed(2e6) == "2M" and axes.prefixed(0.05) == "0.050"
    assert axes.decimals([0.0, 0.05]) == ".2f" and axes.decimals([10.0, 20.0]) == ".0f"
    assert axes.label([1e3]) == "datum.value == 1000.0 ? '1k' : ''"
