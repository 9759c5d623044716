"""Agreement with statsmodels on fixed data, where it is installed."""

import importlib.util

import numpy as np
import pytest

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import line
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power
from clinometer.tools.inference import simultaneous

_REASON = "statsmodels is not installed; `make setup-stats` brings it"
_INSTALLED = importlib.util.find_spec("statsmodels") is not None
if _INSTALLED:
    import statsmodels.api as sm
    from statsmodels.stats import multitest

pytestmark = pytest.mark.skipif(not _INSTALLED, reason=_REASON)


def _study(design, sd=0.018, seed=21):
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, sd, order_sd=0.01, draws=1, seed=seed)[0]
    return linear_model.fit(design, losses), losses


def _dummies(design):
    """Cells, and all orders but the first."""
    return studies.dense(design)[:, : -len(design.orders)], (
        np.eye(len(design.orders))[design.order_of_run][:, 1:]
    )


def test_contrasts_with_one_variance_are_those_of_ols():
    design = studies.ladder(3, 4)
    fitted, losses = _study(design)
    assert not fitted.variance.has_slope
    theirs = sm.OLS(losses, np.hstack(_dummies(design))).fit()
    rows = np.array([contrasts.gain(design, 0, 1), contrasts.gain(design, 1, 2)])
    wide = np.hstack([rows, np.zeros((2, len(design.orders) - 1))])
    test = theirs.t_test(wide)
    ours = contrasts.estimate(fitted, rows)
    np.testing.assert_allclose(ours.value, test.effect, rtol=1e-9)
    np.testing.assert_allclose(ours.standard_error, np.ravel(test.sd), rtol=1e-9)
    np.testing.assert_allclose(ours.p_two_sided(), np.ravel(test.pvalue), rtol=1e-7)
    np.testing.assert_allclose(np.stack(ours.interval(), 1), test.conf_int(), rtol=1e-8)
    np.testing.assert_allclose(ours.degrees, theirs.df_resid)
    np.testing.assert_allclose(fitted.variance.of_cells(), theirs.scale, rtol=1e-9)


def test_values_with_a_slope_are_those_of_wls_with_its_weights():
    design = studies.first_study()
    fitted, losses = _study(design, studies.falling_sd(design, 0.5))
    assert fitted.variance.has_slope
    z = np.log(design.widths)[design.width_of_cell[design.cell_of_run]]
    weights = np.exp(-fitted.variance.slope * z)
    theirs = sm.WLS(losses, np.hstack(_dummies(design)), weights=weights).fit()
    rows = np.array([contrasts.own_gain(design, a) for a in design.architectures])
    wide = np.hstack([rows, np.zeros((12, len(design.orders) - 1))])
    test = theirs.t_test(wide)
    ours = contrasts.estimate(fitted, rows)
    np.testing.assert_allclose(ours.value, test.effect, rtol=1e-8)
    # sigma^2 at the ends is corrected for its bias, by less than 1 % here.
    np.testing.assert_allclose(ours.standard_error, np.ravel(test.sd), rtol=0.01)


def test_a_line_is_gls_on_the_means():
    design = studies.ladder(4, (6, 2, 1, 3), initialisations=3)
    fitted, _ = _study(design)
    cells = design.cells_of("a")
    covariance, _ = contrasts.precision(fitted.variance, np.eye(4))
    x = sm.add_constant(np.log10(design.flops_of(cells)))
    theirs = sm.GLS(fitted.means[cells], x, sigma=covariance).fit()
    ours = line.fit_line(fitted, "a")
    np.testing.assert_allclose(ours.gain_per_decade, -theirs.params[1], rtol=1e-9)


def test_lack_of_fit_is_the_f_test_of_nested_models():
    design = studies.ladder(4, 2)
    fitted, losses = _study(design)
    assert not fitted.variance.has_slope
    cells, orders = _dummies(design)
    x = np.log10(design.flops_of(design.cell_of_run))
    full = sm.OLS(losses, np.hstack([cells, orders])).fit()
    straight = sm.OLS(losses, np.column_stack([np.ones(8), x, orders])).fit()
    _, p_value, _ = full.compare_f_test(straight)
    np.testing.assert_allclose(line.fit_line(fitted, "a").lack_of_fit_p, p_value)
    ours = line.fit_line(fitted, "a").gain_per_decade
    np.testing.assert_allclose(ours, -straight.params[1], rtol=1e-8)


def test_holm_is_theirs():
    p = np.random.default_rng(0).uniform(0, 0.1, 11)
    _, theirs, *_ = multitest.multipletests(p, method="holm")
    np.testing.assert_allclose(simultaneous.holm(p), theirs)


def test_the_slope_of_the_variance_is_that_of_a_gamma_regression():
    """Without blocks the widths' sample variances are gamma, and REML is their GLM."""
    design = studies.one_order(4, (9, 7, 6, 5))
    fitted, losses = _study(design, studies.falling_sd(design, 0.5))
    squares = [np.var(losses[design.cell_of_run == i], ddof=1) for i in range(4)]
    x = sm.add_constant(np.log(design.widths))
    family = sm.families.Gamma(sm.families.links.Log())
    theirs = sm.GLM(squares, x, family, var_weights=design.degrees_within / 2).fit(
        tol=1e-12, maxiter=200
    )
    np.testing.assert_allclose(fitted.variance.slope, theirs.params[1], atol=1e-5)
