"""Factors of compute against the inequality that Fieller's set solves."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import multiplier
from clinometer.tools.inference import power
from clinometer.tools.inference import simultaneous


def _random_pair(rng):
    root = rng.standard_normal((2, 2))
    return rng.standard_normal(2) * 2, root @ root.T


def test_the_set_is_where_the_inequality_holds():
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(300):
        value, covariance = _random_pair(rng)
        low, high, inside = multiplier.fieller(value, covariance, 2.0)
        kinds.add((bool(inside), bool(np.isnan(low))))
        for ratio in rng.standard_cauchy(20):
            row = np.array([1.0, -ratio])
            holds = abs(row @ value) <= 2.0 * np.sqrt(row @ covariance @ row)
            if np.isnan(low):
                assert holds
            else:
                assert holds == ((low <= ratio <= high) == bool(inside))
    assert kinds == {(True, False), (False, False), (False, True)}


def test_a_known_gain_scales_the_levels_interval():
    found = multiplier.factor(np.array([0.02, 0.1]), np.diag([1e-4, 0.0]), 2.0)
    np.testing.assert_allclose(
        [found.value, found.low, found.high], [10**0.2, 10**0.0, 10**0.4]
    )
    assert found.bounded and str(found) == "1.6× [1.0, 2.5]"


def test_it_holds_1_exactly_where_the_level_holds_0():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(300):
        value, covariance = _random_pair(rng)
        found = multiplier.factor(value, covariance, 1.5)
        level_holds = abs(value[0]) <= 1.5 * np.sqrt(covariance[0, 0])
        if found.bounded:
            holds = found.low <= 1 <= found.high
        else:
            holds = found.excluded is None or not (
                found.excluded[0] < 1 < found.excluded[1]
            )
        assert holds == level_holds
        seen.add((holds, found.bounded))
    assert len(seen) == 4


def test_unbounded_is_said():
    found = multiplier.factor(np.array([0.5, 0.01]), np.diag([1e-2, 1e-2]), 2.0)
    assert not found.bounded and (found.low, found.high) == (0.0, float("inf"))
    assert str(found).startswith("unbounded: any factor fits but those from")
    anything = multiplier.factor(np.array([0.01, 0.01]), np.diag([1e-2, 1e-2]), 2.0)
    assert str(anything) == "unbounded: any factor fits"
    assert np.isnan(multiplier.factor(np.array([1, -1]), np.eye(2), 1.0).value)


def test_a_shift_of_the_curve_is_its_factor():
    """An architecture that is vanilla at 1 / 1.5 of the compute, without noise."""
    design = studies.ladder(5, 3, costs=(1.0, 1.0))
    costs = design.flops_of(range(len(design.cells)))

    def straight(flops):
        return 4.4 - 0.1 * np.log10(flops / 2.5e11)

    means = straight(costs)
    own = design.cells_of("b")
    means[own] = straight(costs[own] / 1.5)
    losses = power.draw_losses(design, means, 1e-7, draws=1)[0]
    fitted = linear_model.fit(design, losses)
    pairs = equal_compute.compare_all(design, "a")
    levels = simultaneous.family(fitted, np.array([p.level for p in pairs]))
    (found,) = multiplier.multipliers(fitted, pairs, levels)
    for factor in (found.average, found.at_low_end, found.at_high_end):
        np.testing.assert_allclose(factor.value, 1.5, rtol=1e-4)
        assert factor.low < 1.5 < factor.high


@pytest.mark.slow
@pytest.mark.parametrize("sizes, orders", [(3, 4), (4, 3), (8, 3), (0, 0)])
def test_the_interval_covers_with_its_own_quantile(sizes, orders):
    """With the t quantile of its two estimates' smaller degrees of freedom."""
    if sizes:
        design = studies.ladder(sizes, orders, (1.0, 1.3, 0.9))
    else:
        design = studies.first_study()
    means = studies.true_means(design, studies.bent())
    means[design.cells_of(design.architectures[1])] += 0.02
    for power_of_width in (0.0, 0.5):
        losses = power.draw_losses(
            design,
            means,
            studies.falling_sd(design, power_of_width),
            order_sd=0.01,
            draws=2000,
            seed=6,
        )
        fitted = linear_model.fit(design, losses)
        covered = []
        for pair in equal_compute.compare_all(design, design.architectures[0]):
            rows = np.stack([pair.level, pair.reference_gain / pair.decades])
            found = contrasts.estimate(fitted, rows)
            quantile = stats.t.ppf(0.975, found.degrees.min(axis=-1))
            low, high, inside = multiplier.fieller(
                found.value, found.covariance, quantile
            )
            truth = np.divide(*(rows @ means))
            between = (low <= truth) & (truth <= high)
            covered.append(np.mean(np.where(inside, between, ~between)))
        print(sizes, power_of_width, np.round(covered, 4))
        assert min(covered) > 0.93 and max(covered) < 0.97
