"""Compares slopes with SciPy, closed forms, known values and simulation."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.tools.fit import errors
from clinometer.tools.fit import slopes

# The four T5 points of Tay et al. 2021, Table 4 (Small, Base, Large, XL), with the
# computed multiply-adds per batch in units of 1e12.
_MACS = np.array([3.69, 11.35, 34.26, 127.34])
_NLL = np.array([2.021, 1.752, 1.605, 1.487])
_SUPERGLUE = np.array([62.88, 69.80, 75.97, 77.99]) / 100


@pytest.mark.parametrize(
    "x, y, options, expected",
    [
        (_MACS, _NLL, {"logx": "e", "logy": "e"}, -0.0854),
        (_MACS, _NLL, {"lower_is_better": True}, +0.3408),
        (_MACS, _SUPERGLUE, {}, +0.1000),
        (_MACS, _SUPERGLUE, {"logx": "e", "logy": "e"}, +0.0616),
        (_MACS, 1 - _SUPERGLUE, {"logx": "e", "logy": "e"}, -0.1518),
        (-_NLL, _SUPERGLUE, {"logx": "none"}, +0.2937),
    ],
)
def test_numbers_worked_beforehand(x, y, options, expected):
    assert slopes.fit_slope(x, y, **options).slope == pytest.approx(expected, abs=6e-5)


def _random_points(n=7, seed=0):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(3, 1, n))
    return x, 4 - 0.3 * np.log10(x) + 0.05 * rng.standard_normal(n)


@pytest.mark.parametrize(
    "logx, function", [("none", None), ("e", np.log), ("2", np.log2)]
)
def test_agrees_with_linregress(logx, function):
    x, y = _random_points()
    u = x if function is None else function(x)
    theirs = stats.linregress(u, y)
    ours = slopes.fit_slope(x, y, logx=logx)
    # The same formulas in float64: 1e-10 leaves room for their rounding only.
    np.testing.assert_allclose(
        [ours.slope, ours.intercept], [theirs.slope, theirs.intercept], rtol=1e-10
    )
    np.testing.assert_allclose(ours.r_squared, theirs.rvalue**2, rtol=1e-10)
    # Mutation: one point moved, another slope.
    assert slopes.fit_slope(x, y + (x == x.max())).slope != ours.slope


def test_agrees_with_the_normal_equations():
    x, y = _random_points(n=5, seed=3)
    design = np.stack([np.ones(5), np.log10(x)], axis=1)
    beta = np.linalg.solve(design.T @ design, design.T @ y)
    residuals = y - design @ beta
    fit = slopes.fit_slope(x, y)
    np.testing.assert_allclose([fit.intercept, fit.slope], beta, rtol=1e-10)
    np.testing.assert_allclose(fit.residuals, residuals, atol=1e-12)
    np.testing.assert_allclose(fit.rmse, np.sqrt(np.mean(residuals**2)), rtol=1e-10)
    at = np.array([1.0, 20.0, 400.0])
    rows = np.stack([np.ones(3), np.log10(at)], axis=1)
    np.testing.assert_allclose(fit.predict(at), rows @ beta, rtol=1e-10)


def test_standardised_slope_is_the_correlation():
    x, y = _random_points()
    fit = slopes.fit_slope(x, y, logx="10", standardise=True)
    assert fit.slope == pytest.approx(np.corrcoef(np.log(x), y)[0, 1], rel=1e-10)
    np.testing.assert_allclose(np.mean(fit.transform_x(x)), 0, atol=1e-12)


def test_up_is_better():
    x, y = _random_points()
    loss = slopes.fit_slope(x, y, lower_is_better=True)
    assert loss.slope == pytest.approx(-slopes.fit_slope(x, y).slope)
    assert loss.slope > 0
    logged = slopes.fit_slope(x, y, logy="e", lower_is_better=True)
    assert logged.slope == pytest.approx(
        -stats.linregress(np.log10(x), np.log(y)).slope
    )


def test_theil_sen_ignores_one_bad_run():
    x = 10.0 ** np.arange(7)
    y = 5 - 0.5 * np.arange(7.0)
    y[6] += 3
    fit = slopes.fit_slope(x, y)
    assert fit.theil_sen_slope == pytest.approx(-0.5)
    assert abs(fit.slope + 0.5) > 0.1


@pytest.mark.parametrize("n", [2, 5, 8])
def test_median_slope_agrees_with_scipy(n):
    x, y = _random_points(n, seed=n)
    x[-1] = x[0] if n > 2 else x[-1]  # Points with one x make no pair.
    theirs = stats.theilslopes(y, np.log10(x)).slope
    ours = slopes.fit_slope(x, y).theil_sen_slope
    assert ours == pytest.approx(theirs, rel=1e-10)  # Rounding of the same formula.


def test_variants_start_with_the_default_and_are_all_different():
    variants = slopes.slope_variants(_MACS, _NLL, lower_is_better=True)
    assert variants[0] == slopes.fit_slope(_MACS, _NLL, lower_is_better=True)
    keys = {(v.logx, v.logy, v.standardise) for v in variants}
    assert len(keys) == len(variants) == 12
    # Scores that may be negative are not logged.
    assert len(slopes.slope_variants(_MACS, -_NLL)) == 6


def test_no_points_are_a_clear_error():
    with pytest.raises(errors.FitError, match="2 or more distinct x; got 0 points"):
        slopes.slope_variants([], [])


def test_fits_are_plain_records():
    fit = slopes.fit_slope(_MACS, _NLL)
    assert dataclasses.replace(fit, slope=0.0) != fit


@pytest.mark.parametrize(
    "x, y, options, words",
    [
        ([1], [1], {}, "2 or more distinct"),
        ([2, 2, 2], [1, 2, 3], {}, "1 distinct"),
        ([1, 2], [1, 2, 3], {}, "equal length"),
        ([1, 2], [1, float("nan")], {}, r"y\[1\] is nan"),
        ([0, 2], [1, 2], {}, "positive values"),
        ([1, 2], [-1, 2], {"logy": "e"}, "positive values"),
        ([1, 2], [1, 2], {"logx": "3"}, "'10'"),
        ([1, 2], [1, 1], {"standardise": True}, "does not vary"),
    ],
)
def test_bad_input(x, y, options, words):
    with pytest.raises(errors.FitError, match=words):
        slopes.fit_slope(x, y, **options)
