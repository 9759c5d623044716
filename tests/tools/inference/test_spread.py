"""Ratios of spread: pooled they are one, and alone they are a sample variance's."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power
from clinometer.tools.inference import spread


def _losses(design, seed=0, draws=1):
    return power.draw_losses(
        design,
        studies.true_means(design, studies.bent()),
        0.018,
        order_sd=0.01,
        draws=draws,
        seed=seed,
    )


def test_ratios_pool_to_one():
    design = studies.ladder(2, 2, costs=(1.0, 1.3))
    losses = _losses(design)[0]
    fitted = linear_model.fit(design, losses)
    assert not fitted.variance.has_slope
    found = spread.spread_ratios(fitted, losses)
    degrees = np.array([r.degrees for r in found])
    np.testing.assert_allclose(degrees.sum(), design.residual_degrees)
    ratios = np.array([r.ratio for r in found])
    np.testing.assert_allclose(np.sum(degrees * ratios**2), degrees.sum())


def test_without_blocks_a_ratio_is_the_architectures_own_sd():
    design = studies.one_order(3, (5, 1, 1))
    losses = _losses(design)[0]
    fitted = linear_model.fit(design, losses)
    (found,) = spread.spread_ratios(fitted, losses)
    np.testing.assert_allclose([found.ratio, found.degrees], [1.0, 4.0])
    np.testing.assert_allclose(
        [found.low, found.high], np.sqrt(4 / stats.chi2.ppf([0.975, 0.025], 4))
    )
    halved = dataclasses.replace(
        fitted,
        variance=dataclasses.replace(
            fitted.variance, level=fitted.variance.level - np.log(4)
        ),
    )
    np.testing.assert_allclose(spread.spread_ratios(halved, losses)[0].ratio, 2.0)


def test_an_architecture_without_replicates_has_no_ratio():
    design = studies.first_study(mos=(1, 1, 1, 1))
    losses = _losses(design)[0]
    found = {
        r.architecture: r
        for r in spread.spread_ratios(linear_model.fit(design, losses), losses)
    }
    # Its runs share one order, which the other architectures tell from the rest.
    assert np.isnan(found["mos"].ratio)
    assert found["transformer"].degrees > 25


@pytest.mark.slow
def test_twice_the_sd_shows_and_breaks_the_architectures_own_intervals():
    """Reported: its own 95 % intervals cover some 72 %."""
    design = studies.first_study()
    means = studies.true_means(design, studies.bent())
    losses = _losses(design, seed=9, draws=2000)
    loud = np.isin(design.cell_of_run, design.cells_of("glu"))
    rng = np.random.default_rng(10)
    losses[:, loud] += 0.018 * np.sqrt(3) * rng.standard_normal((2000, loud.sum()))
    fitted = linear_model.fit(design, losses)
    row = contrasts.own_gain(design, "glu")[np.newaxis]
    low, high = contrasts.estimate(fitted, row).interval()
    truth = row @ means
    covered = np.mean((low <= truth) & (truth <= high))
    squares = []
    for row in losses[:60]:
        found = spread.spread_ratios(linear_model.fit(design, row), row)
        squares.append([r.ratio**2 for r in found])
    ratios = dict(zip(design.architectures, np.sqrt(np.mean(squares, axis=0))))
    print("own interval at twice the sd covers", covered, "ratio", ratios["glu"])
    assert 0.6 < covered < 0.8
    # Twice the others', a little less than twice the pooled sd, which it raises.
    assert 1.6 < ratios.pop("glu") < 2.0
    assert all(0.8 < ratio < 1.05 for ratio in ratios.values())
