"""Tests that power-law fits recover known constants and agree with curve_fit."""

import numpy as np
import pytest
from scipy import optimize
from scipy import stats

from clinometer.tools.fit import errors
from clinometer.tools.fit import power_law

_SIZES = np.array([1.6e7, 6.1e7, 2.2e8, 7.4e8, 2.9e9, 1.1e10])


@pytest.mark.parametrize("floor", [0.0, 1.2])
@pytest.mark.parametrize("exponent", [-0.08, -0.4])
def test_recovers_known_constants(exponent, floor):
    coefficient = 1.5 * 1e8**-exponent
    fit = power_law.fit_power_law(_SIZES, coefficient * _SIZES**exponent + floor)
    np.testing.assert_allclose(fit.exponent, exponent, rtol=1e-3)
    np.testing.assert_allclose(fit.floor, floor, atol=5e-3)
    np.testing.assert_allclose(fit.coefficient, coefficient, rtol=2e-2)
    assert fit.rmse < 1e-4
    assert fit.determined
    np.testing.assert_allclose(fit.interval, (exponent, exponent), rtol=1e-6)


def test_agrees_with_curve_fit_on_noisy_points():
    rng = np.random.default_rng(1)
    clean = 2.0 * (_SIZES / 1e8) ** -0.2 + 1.0
    noisy = clean + 0.02 * rng.standard_normal(len(_SIZES))
    (c, a, e), _ = optimize.curve_fit(
        lambda n, c, a, e: c * (n / 1e8) ** a + e, _SIZES, noisy, p0=(2, -0.2, 1)
    )
    fit = power_law.fit_power_law(_SIZES, noisy)
    np.testing.assert_allclose([fit.exponent, fit.floor], [a, e], rtol=1e-3)
    residuals = noisy - (c * (_SIZES / 1e8) ** a + e)
    np.testing.assert_allclose(fit.rmse, np.sqrt(np.mean(residuals**2)), rtol=1e-6)
    np.testing.assert_allclose(fit.predict(_SIZES), noisy - fit.residuals, rtol=1e-9)
    # Mutation: another last point gives another law.
    moved = power_law.fit_power_law(_SIZES, np.append(noisy[:-1], noisy[-1] - 0.1))
    assert abs(moved.floor - fit.floor) > 1e-2


def test_straight_power_law_of_rising_slope_has_no_floor():
    fit = power_law.fit_power_law(_SIZES, 5 - np.log10(_SIZES) / 3)
    assert fit.floor < 0.05


def test_bad_input():
    with pytest.raises(errors.FitError, match="4 or more distinct"):
        power_law.fit_power_law([1, 2, 2, 3], [3, 2, 2, 1])
    with pytest.raises(errors.FitError, match="must be positive"):
        power_law.fit_power_law([1, 2, 3, 4], [3, 2, 1, 0])


def test_the_interval_is_the_profile():
    rng = np.random.default_rng(2)
    sizes = np.geomspace(1e5, 1e9, 9)
    losses = 2.0 * (sizes / 1e7) ** -0.3 + 1.0 + 0.01 * rng.standard_normal(9)
    fit = power_law.fit_power_law(sizes, losses)
    best = np.sum(np.square(fit.residuals))
    limit = best * (1 + stats.t.ppf(0.975, 6) ** 2 / 6)
    for alpha in fit.interval:
        design = np.stack([sizes**alpha, np.ones(9)], axis=1)
        (_, floor), (rss,), *_ = np.linalg.lstsq(design, losses, rcond=None)
        assert 0 < floor < losses.min()  # The bounds do not act.
        np.testing.assert_allclose(rss, limit, rtol=1e-3)
    assert fit.interval[0] < fit.exponent < fit.interval[1]
    assert fit.determined and not fit.at_bound


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    sizes = np.geomspace(1e6, 1e10, 10)
    clean = 2.0 * (sizes / 1e8) ** -0.3 + 1.5
    held = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).standard_normal(10)
        low, high = power_law.fit_power_law(sizes, clean + 0.01 * noise).interval
        held += low <= -0.3 <= high
    # Binomial with 200 trials at 95 %: below 181 in less than 0.3 % of cases.
    assert held >= 181


def test_eight_exact_sizes_determine_the_law():
    sizes = np.geomspace(1e7, 1e10, 8)
    fit = power_law.fit_power_law(sizes, 2.0 * (sizes / 1e8) ** -0.2 + 1.0)
    found = [fit.exponent, fit.floor, fit.predict(1e8) - fit.floor]
    np.testing.assert_allclose(found, [-0.2, 1.0, 2.0], rtol=1e-4)
    assert fit.determined


def test_few_sizes_with_noise_determine_nothing():
    sizes = np.array([80_000, 228_000, 780_000, 1_230_000])
    fit = power_law.fit_power_law(sizes, [4.43, 4.26, 4.18, 4.16])
    assert not fit.determined
    noisy = power_law.fit_power_law(sizes, [4.43, 4.30, 4.18, 4.18])
    assert noisy.at_bound and not noisy.determined
