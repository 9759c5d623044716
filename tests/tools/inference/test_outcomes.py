"""Outcomes by hand, exclusive, and no more than five."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tools.inference import errors
from clinometer.tools.inference import outcomes


@pytest.mark.parametrize(
    "low, high, loss, gain",
    [
        (-0.5, 0.5, "equivalent", "equivalent"),
        (0.1, 0.9, "different, negligibly", "different, negligibly"),
        (-0.9, -0.1, "different, negligibly", "different, negligibly"),
        (-0.5, 1.5, "undecided", "undecided"),
        (-3.0, 3.0, "undecided", "undecided"),
        (0.1, 1.5, "worse", "better"),
        (-1.5, -0.1, "better", "worse"),
        (2.0, 3.0, "worse", "better"),
        (0.0, 0.5, "equivalent", "equivalent"),
        (0.0, 1.0, "undecided", "undecided"),
    ],
)
def test_by_hand(low, high, loss, gain):
    assert outcomes.classify(low, high, 1.0, higher_is_better=False) == loss
    assert outcomes.classify(low, high, 1.0, higher_is_better=True) == gain


def test_without_a_margin_nothing_is_equivalent_or_negligible():
    low, high = [-0.5, 0.1, -0.9, 2.0], [0.5, 0.9, -0.1, 3.0]
    found = outcomes.classify(low, high, None, higher_is_better=False)
    assert list(found) == ["undecided", "worse", "better", "worse"]


def test_the_direction_of_good_swaps_two_outcomes_only():
    rng = np.random.default_rng(0)
    ends = np.sort(rng.normal(0, 1, (1000, 2)), axis=1).T
    loss, gain = (
        outcomes.classify(*ends, 0.8, higher_is_better=good) for good in (False, True)
    )
    assert {*loss} == {*gain} == {o.value for o in outcomes.Outcome}
    swapped = {"better": "worse", "worse": "better"}
    assert [swapped.get(o, o) for o in loss] == list(gain)
    mirrored = outcomes.classify(-ends[1], -ends[0], 0.8, higher_is_better=False)
    assert list(mirrored) == list(gain)


def test_equivalence_is_a_90_percent_interval_inside_the_margin():
    rng = np.random.default_rng(2)
    value, error = rng.normal(0, 0.5, 500), rng.uniform(0.1, 0.6, 500)
    p = outcomes.equivalence_p(value, error, 7, 1.0)
    low, high = stats.t.interval(0.9, 7, value, error)
    inside = (low >= -1.0) & (high <= 1.0)
    assert 50 < inside.sum() < 450
    np.testing.assert_array_equal(p <= 0.05, inside)
    # SciPy's two one-sided tests of one sample.
    sample = rng.normal(0.2, 1.0, 12)
    expected = max(
        stats.ttest_1samp(sample, -1.0, alternative="greater").pvalue,
        stats.ttest_1samp(sample, 1.0, alternative="less").pvalue,
    )
    found = outcomes.equivalence_p(sample.mean(), stats.sem(sample), 11, 1.0)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf")])
def test_a_margin_is_a_finite_number_above_0(margin):
    with pytest.raises(errors.InferenceError, match="margin is .* above 0"):
        outcomes.classify(0, 1, margin, higher_is_better=True)


def test_the_power_of_equivalence_is_that_of_simulated_tests():
    rng = np.random.default_rng(0)
    for error, degrees in ((0.01, 8), (0.02, 40)):
        value = error * rng.standard_t(degrees, 400_000)
        found = np.mean(outcomes.equivalence_p(value, error, degrees, 0.03) <= 0.05)
        # Four standard errors of a share of 400,000, 0.0008 each.
        np.testing.assert_allclose(
            outcomes.equivalence_power(error, degrees, 0.03), found, atol=0.003
        )
    assert outcomes.equivalence_power(0.05, 8, 0.03) == 0
