"""The variance of a run against dense likelihoods and analysis of variance."""

import numpy as np
import pytest
from scipy import optimize

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import errors
from clinometer.tools.inference import power
from clinometer.tools.inference import variance as variance_lib


def _losses(design, power_of_width=0.3, seed=0, draws=1):
    return power.draw_losses(
        design,
        studies.true_means(design, studies.bent()),
        studies.falling_sd(design, power_of_width),
        order_sd=0.01,
        draws=draws,
        seed=seed,
    )


def _dense_deviance(design, losses, level, slope):
    """-2 log restricted likelihood of the runs, by the textbook's formula."""
    dummies = studies.dense(design)
    u, s, _ = np.linalg.svd(dummies, full_matrices=False)
    x = u[:, s > 1e-9]
    d = design.widths[design.width_of_cell][design.cell_of_run]
    v = np.diag(np.exp(level + slope * (np.log(d) - variance_lib.pivot(design))))
    inverse = np.linalg.inv(v)
    projection = inverse - inverse @ x @ np.linalg.inv(x.T @ inverse @ x) @ (
        x.T @ inverse
    )
    return (
        np.linalg.slogdet(v)[1]
        + np.linalg.slogdet(x.T @ inverse @ x)[1]
        + losses @ projection @ losses
    ), projection


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_estimate_maximises_the_dense_restricted_likelihood(seed):
    design = studies.ladder(4, (4, 3, 2, 3), costs=(1.0, 1.4))
    losses = _losses(design, seed=seed)[0]
    estimate = variance_lib.estimate(design, losses)
    found = optimize.minimize(
        lambda p: _dense_deviance(design, losses, *p)[0],
        [-8.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-10},
    )
    np.testing.assert_allclose(
        [estimate.level, estimate.slope], found.x, atol=2e-5, rtol=0
    )
    # Mutation: one loss moved, another estimate.
    moved = losses + 0.01 * (np.arange(len(losses)) == 3)
    assert abs(variance_lib.estimate(design, moved).level - estimate.level) > 1e-4


def test_the_information_is_half_the_trace_of_the_dense_projection():
    design, slope = studies.unbalanced(), 0.7
    _, projection = _dense_deviance(design, np.zeros(len(design.cell_of_run)), 0, slope)
    d = design.widths[design.width_of_cell][design.cell_of_run]
    z = np.log(d) - variance_lib.pivot(design)
    v = np.exp(slope * z)
    changes = [projection * v, projection * (v * z)]  # P V_i
    expected = [[0.5 * np.trace(a @ b) for b in changes] for a in changes]
    found = variance_lib.information(design, np.array(slope))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    other = variance_lib.information(design, np.array(0.0))
    assert np.abs(other - found).max() > 1e-3


def test_the_change_of_the_orders_covariance_is_its_finite_difference():
    design, step = studies.unbalanced(), 1e-5
    at = np.array([0.7 - step, 0.7, 0.7 + step])
    covariance, change = variance_lib.relative_order_covariance(design, at)
    np.testing.assert_allclose(
        change[1], (covariance[2] - covariance[0]) / (2 * step), rtol=1e-7, atol=1e-9
    )


def test_one_variance_is_the_mean_square_of_a_balanced_two_way_analysis():
    design = studies.ladder(3, 3)  # 3 cells x 3 orders
    losses = _losses(design)[0]
    table = losses.reshape(3, 3)
    residual = (
        table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    )
    estimate = variance_lib.estimate(design, losses)
    assert not estimate.has_slope
    np.testing.assert_allclose(
        estimate.of_cells(), np.sum(residual**2) / 4 * np.ones(3), rtol=1e-10
    )
    np.testing.assert_allclose(estimate.degrees(16), 4)


def test_two_widths_have_their_own_sample_variances():
    """Two parameters, two variances: restricted likelihood is analysis of variance."""
    design = studies.one_order(2, (6, 4))
    losses = _losses(design)[0]
    estimate = variance_lib.estimate(design, losses)
    assert estimate.has_slope
    np.testing.assert_allclose(
        estimate.of_cells(),
        [np.var(losses[:6], ddof=1), np.var(losses[6:], ddof=1)],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        [estimate.degrees(16), estimate.degrees(32)], [5, 3], rtol=1e-9
    )


def test_data_sets_estimated_together_are_those_estimated_apart():
    design = studies.unbalanced()
    losses = _losses(design, draws=5)
    together = variance_lib.estimate(design, losses)
    apart = [variance_lib.estimate(design, row) for row in losses]
    np.testing.assert_allclose(together.level, [e.level for e in apart], rtol=1e-9)
    np.testing.assert_allclose(together.slope, [e.slope for e in apart], atol=1e-7)


@pytest.mark.parametrize(
    "design, expected",
    [
        (studies.first_study(), True),
        (studies.ladder(8, 2), True),
        (studies.ladder(3, 3, costs=(1.0, 1.4)), True),
        (studies.ladder(3, 3), False),
        (studies.one_order(3, (5, 1, 1)), False),  # Replicates at one width only.
    ],
)
def test_the_design_alone_decides_on_the_slope(design, expected):
    for seed in range(3):
        estimate = variance_lib.estimate(design, _losses(design, seed=seed)[0])
        assert estimate.has_slope == expected
        assert np.all((estimate.slope != 0) == expected)


@pytest.mark.parametrize(
    "design",
    [
        studies.one_order(3, (1, 1, 1)),
        studies.ladder(3, 1, costs=(1.0, 1.4)),
        studies.ladder(4, (5, 1, 1, 1)),  # Orders at one cell only: no replicates.
    ],
)
def test_a_study_without_replicates_says_what_cannot_be_known(design):
    with pytest.raises(errors.InferenceError, match="every interval, test and outcome"):
        variance_lib.estimate(design, np.arange(len(design.cell_of_run), dtype=float))


def test_copies_of_one_run_are_refused():
    design = studies.one_order(3, (2, 2, 2))
    with pytest.raises(errors.InferenceError, match="do not differ at all"):
        variance_lib.estimate(design, np.array([4.2, 4.2, 4.1, 4.1, 4.0, 4.0]))


def test_a_variance_that_vanishes_at_one_width_ends_at_the_bound():
    design = studies.one_order(3, (3, 3, 3))
    losses = _losses(design)[0]
    losses[:3] = losses[0] + 1e-9 * np.arange(3)
    losses[3:6] = losses[3] + 1e-9 * np.arange(3)
    estimate = variance_lib.estimate(design, losses)
    assert estimate.at_bound and np.all(np.isfinite(estimate.of_cells()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        studies.one_order(3, (3, 3, 3)),
        studies.ladder(8, 2),
        studies.ladder(4, 3),
        studies.first_study(),
    ],
)
@pytest.mark.parametrize("power_of_width", [0.0, 0.3])
def test_the_variance_at_the_ends_is_nearly_unbiased(design, power_of_width):
    """The second-order bias is taken off: most of 20 to 60 % in the smallest."""
    estimate = variance_lib.estimate(
        design, _losses(design, power_of_width, draws=4000)
    )
    ends = design.widths[[0, -1]]
    sd = studies.falling_sd(design, power_of_width)
    truth = np.array([sd[int(w)] ** 2 for w in ends])
    bias = estimate.of_widths(ends).mean(axis=0) / truth - 1
    z = np.log(ends) - variance_lib.pivot(design)
    plain = np.exp(estimate.level[:, np.newaxis] + estimate.slope[:, np.newaxis] * z)
    uncorrected = plain.mean(axis=0) / truth - 1
    assert np.all(np.abs(bias) < 0.6 * np.abs(uncorrected) + 0.01), (bias, uncorrected)
