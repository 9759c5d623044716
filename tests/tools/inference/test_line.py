"""Lines against the normal equations and the classical test of lack of fit."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import errors
from clinometer.tools.inference import line
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power


def _fitted(design, means, sd=0.018, draws=1, seed=0):
    losses = power.draw_losses(design, means, sd, order_sd=0.01, draws=draws, seed=seed)
    return linear_model.fit(design, losses[0] if draws == 1 else losses), losses


def test_the_slope_is_generalised_least_squares():
    design = studies.unbalanced()
    fitted, _ = _fitted(design, studies.true_means(design, studies.bent()))
    cells = design.cells_of("a")
    # The means' covariance, by its definition.
    of_mean = np.diag(fitted.variance.of_cells() / design.counts)[np.ix_(cells, cells)]
    information = np.einsum(
        "w,wrs->rs",
        1
        / np.exp(
            fitted.variance.level
            + fitted.variance.slope
            * (
                np.log(design.widths)
                - np.average(np.log(design.widths), weights=design.degrees_within)
            )
        ),
        design.order_information,
    )
    offsets = design.order_offsets[cells]
    covariance = of_mean + offsets @ np.linalg.inv(information) @ offsets.T
    x = np.stack([np.ones(3), np.log10(design.flops_of(cells))], axis=1)
    weight = np.linalg.inv(covariance)
    normal = np.linalg.inv(x.T @ weight @ x)
    intercept, slope = normal @ x.T @ weight @ fitted.means[cells]
    found = line.fit_line(fitted, "a")
    np.testing.assert_allclose(found.gain_per_decade, -slope, rtol=1e-9)
    # The weights are estimated, which adds to the usual standard error.
    usual = np.sqrt(normal[1, 1])
    assert usual < found.standard_error < 1.1 * usual
    np.testing.assert_allclose(
        found.loss_at_center, intercept + slope * np.log10(found.center)
    )
    reach = stats.t.ppf(0.975, found.degrees) * found.standard_error
    np.testing.assert_allclose(
        [found.low, found.high], [-slope - reach, -slope + reach]
    )
    # The band, by the normal equations; estimated weights add to its slope only.
    costs = np.array([5e10, 3e11, 4e12])
    at = np.stack([np.ones(3), np.log10(costs)], axis=1)
    plain = np.einsum("ci,ij,cj->c", at, normal, at)
    added = (found.standard_error**2 - normal[1, 1]) * np.log10(costs / found.center)
    variance = plain + added * np.log10(costs / found.center)
    np.testing.assert_allclose(found.predict(costs), at @ [intercept, slope])
    np.testing.assert_allclose(
        found.reach(costs), stats.t.ppf(0.975, found.degrees) * np.sqrt(variance)
    )
    # Mutation: ordinary least squares is another line.
    ordinary = np.linalg.lstsq(x, fitted.means[cells], rcond=None)[0][1]
    assert abs(ordinary - slope) > 1e-4


def test_lack_of_fit_is_the_classical_f_test():
    """Replicates without blocks and one variance: pure error against lack of fit."""
    design = studies.one_order(4, (2, 1, 1, 1))
    assert design.residual_degrees == 1
    design = studies.one_order(4, (4, 4, 4, 4))
    losses = power.draw_losses(
        design, studies.true_means(design, studies.bent()), 0.02, draws=1, seed=3
    )[0]
    fitted = linear_model.fit(design, losses)
    flat = linear_model.variance_lib.Variance(
        design,
        np.log(np.sum((losses - fitted.means[design.cell_of_run]) ** 2) / 12),
        np.array(0.0),
        False,
        np.array(False),
    )
    fitted = linear_model.Fit(design, flat, fitted.means, fitted.order_effects)
    x = np.log10(design.flops_of(design.cell_of_run))
    straight = stats.linregress(x, losses)
    of_line = np.sum((losses - straight.intercept - straight.slope * x) ** 2)
    pure = np.sum((losses - fitted.means[design.cell_of_run]) ** 2)
    statistic = (of_line - pure) / 2 / (pure / 12)
    found = line.fit_line(fitted, "a")
    np.testing.assert_allclose(found.lack_of_fit_p, stats.f.sf(statistic, 2, 12))
    np.testing.assert_allclose(found.gain_per_decade, -straight.slope)
    np.testing.assert_allclose(
        found.standard_error, np.sqrt(pure / 12 / np.sum((x - x.mean()) ** 2))
    )


def test_a_bend_changes_the_slope_by_its_factor_and_keeps_the_gain():
    x = np.linspace(2.0, 4.0, 2001)
    bent = line._bend(x, 0.3, 2.5)
    slope = -np.diff(bent) / np.diff(x)
    np.testing.assert_allclose(slope[0] / slope[-1], 2.5, rtol=2e-3)
    np.testing.assert_allclose(bent[0] - bent[-1], 0.3 * 2.0)


def test_power_rises_with_the_change_and_starts_at_the_level():
    design = studies.ladder(4, (6, 2, 1, 3), initialisations=3)
    fitted, _ = _fitted(design, studies.true_means(design, studies.bent()))
    found = line.fit_line(fitted, "a", changes=(1.0, 2.0, 3.0, 30.0))
    shares = [share for _, share in found.lack_of_fit_power]
    np.testing.assert_allclose(shares[0], 0.05, atol=1e-6)
    assert shares == sorted(shares) and shares[-1] > 0.5


def test_a_line_against_another_cost():
    design = studies.unbalanced()
    fitted, _ = _fitted(design, studies.true_means(design, studies.bent()))
    cells = design.cells_of("b")
    plain = line.fit_line(fitted, "b")
    # Costs by a power of the FLOPs change the unit of the gain and nothing else.
    squared = line.fit_line(
        fitted, "b", costs={int(i): design.cells[i].flops ** 2 for i in cells}
    )
    np.testing.assert_allclose(squared.gain_per_decade, plain.gain_per_decade / 2)
    np.testing.assert_allclose(squared.standard_error, plain.standard_error / 2)
    np.testing.assert_allclose(squared.lack_of_fit_p, plain.lack_of_fit_p)
    # Sizes are taken by this cost, here falling with the FLOPs.
    falling = {int(i): 1e30 / design.cells[i].flops for i in cells}
    found = line.fit_line(fitted, "b", costs=falling)
    np.testing.assert_allclose(found.gain_per_decade, -plain.gain_per_decade)
    with pytest.raises(errors.InferenceError, match="b has 2 with this cost"):
        line.fit_line(fitted, "b", costs={int(i): 1.0 + i for i in cells[1:]})
    with pytest.raises(errors.InferenceError, match="1 to 1 is no range"):
        line.fit_line(fitted, "b", costs={int(i): 1.0 for i in cells})


def test_a_line_needs_three_sizes():
    design = studies.ladder(2, 4)
    fitted, _ = _fitted(design, studies.true_means(design, studies.bent()))
    with pytest.raises(errors.InferenceError, match="needs 3 or more sizes; a has 2"):
        line.fit_line(fitted, "a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes, orders, power_of_width", [(3, 5, 0.5), (4, 3, 0.0), (8, 3, 0.5)]
)
def test_on_a_straight_ladder_the_line_covers_and_fits(sizes, orders, power_of_width):
    design = studies.ladder(sizes, orders, costs=(1.0, 1.0))
    means = 4.4 - 0.1 * np.log10(design.flops_of(range(len(design.cells))) / 2.5e11)
    sd = studies.falling_sd(design, power_of_width)
    together, _ = _fitted(design, means, sd, 2000, seed=8)
    covered, rejected = [], []
    for i in range(2000):
        variance = linear_model.variance_lib.Variance(
            design,
            together.variance.level[i],
            together.variance.slope[i],
            together.variance.has_slope,
            together.variance.at_bound[i],
        )
        one = linear_model.Fit(
            design, variance, together.means[i], together.order_effects[i]
        )
        found = line.fit_line(one, "a", changes=())
        covered.append(found.low <= 0.1 <= found.high)
        rejected.append(found.lack_of_fit_p <= 0.05)
    print(sizes, power_of_width, np.mean(covered), np.mean(rejected))
    assert 0.93 < np.mean(covered) < 0.97
    assert 0.03 < np.mean(rejected) < 0.07
