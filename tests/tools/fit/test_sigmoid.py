"""Tests that sigmoids are recovered and agree with curve_fit."""

import numpy as np
import pytest
from scipy import optimize

from clinometer.tools.fit import errors
from clinometer.tools.fit import sigmoid

_X = np.linspace(-3.2, -2.0, 8)


def _score(x, rate=4.0, middle=-2.5, low=25.0):
    return low + (100 - low) / (1 + np.exp(-rate * (x - middle)))


@pytest.mark.parametrize("rate, middle", [(4.0, -2.5), (1.0, -1.0), (12.0, -2.9)])
def test_exact_ladders_determine_it(rate, middle):
    found = sigmoid.fit(_X, _score(_X, rate, middle), low=25.0)
    assert found.rate == pytest.approx(rate, rel=1e-4)
    assert found.middle == pytest.approx(middle, rel=1e-4)
    assert found.determined
    assert found.predict(-1.5) == pytest.approx(_score(-1.5, rate, middle), rel=1e-4)
    # Mutation: another chance level is another curve.
    other = sigmoid.fit(_X, _score(_X, rate, middle), low=0.0)
    assert abs(other.rate / rate - 1) > 0.01


def test_noisy_scores_agree_with_curve_fit():
    rng = np.random.default_rng(0)
    score = _score(_X) + rng.standard_normal(8)
    theirs, _ = optimize.curve_fit(_score, _X, score, p0=(3, -2.4))
    found = sigmoid.fit(_X, score, low=25.0)
    np.testing.assert_allclose([found.rate, found.middle], theirs, rtol=1e-4)
    low, high = found.rate_interval
    assert low < 4.0 < high and found.determined


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).standard_normal(8)
        low, high = sigmoid.fit(_X, _score(_X) + noise, low=25.0).rate_interval
        held += low <= 4.0 <= high
    # Binomial with 100 trials at 95 %: below 88 in less than 0.3 % of cases.
    assert held >= 88


def test_scores_without_a_trend_determine_nothing():
    score = 40 + np.array([0.3, -0.2, 0.1, -0.3, 0.2, 0.0, -0.1, 0.2])
    assert not sigmoid.fit(_X, score).determined


@pytest.mark.parametrize(
    "x, score, options, words",
    [
        ([1, 2, 2], [1, 2, 3], {}, "3 or more distinct"),
        ([1, 2, 3], [1, 2], {}, "equal length"),
        ([1, 2, np.nan], [1, 2, 3], {}, "finite"),
        ([1, 2, 3], [1, 2, 3], {"low": 100.0}, "below high"),
    ],
)
def test_bad_input(x, score, options, words):
    with pytest.raises(errors.FitError, match=words):
        sigmoid.fit(x, score, **options)
