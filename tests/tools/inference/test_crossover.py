"""Crossovers against one-sided t tests by hand, bivariate normals and simulation."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power


def _study(shift, seed=0):
    """Two architectures of equal cost; b's losses are shifted by width."""
    design = studies.ladder(3, 4, costs=(1.0, 1.0))
    means = studies.true_means(design, studies.bent())
    means[design.cells_of("b")] += shift
    losses = power.draw_losses(design, means, 0.01, draws=1, seed=seed)[0]
    fitted = linear_model.fit(design, losses)
    return fitted, equal_compute.compare_all(design, "a")


def test_the_p_value_is_the_larger_of_two_one_sided():
    fitted, pairs = _study([0.03, 0.0, -0.02])
    estimates = contrasts.estimate(fitted, np.array([pairs[0].low, pairs[0].high]))
    t = estimates.value / estimates.standard_error
    expected = max(
        stats.t.sf(t[0], estimates.degrees[0]), stats.t.cdf(t[1], estimates.degrees[1])
    )
    (found,) = crossover.crossovers(fitted, pairs)
    np.testing.assert_allclose(found.p_value, expected)
    np.testing.assert_allclose([found.low, found.high], estimates.value)


@pytest.mark.parametrize(
    "shift, expected",
    [
        ([0.06, 0.0, -0.06], crossover.Crossing.OVERTAKES),
        ([-0.06, 0.0, 0.06], crossover.Crossing.FALLS_BEHIND),
        ([0.06, 0.06, 0.06], crossover.Crossing.NONE),
        ([0.06, 0.0, 0.0], crossover.Crossing.NONE),
    ],
)
def test_the_direction_is_the_one_seen(shift, expected):
    (found,) = crossover.crossovers(*_study(shift))
    assert found.crossing == expected
    assert (found.p_value <= 0.05) == (expected != crossover.Crossing.NONE)


def test_both_directions_together_err_no_more_than_one():
    """P(T1 > c, T2 < -c) + P(T1 < -c, T2 > c) over all truths without a crossing."""
    critical = stats.norm.ppf(0.95)

    def error(correlation, shift):
        both = stats.multivariate_normal([0, 0], [[1, -correlation], [-correlation, 1]])
        # T1 has mean 0 (the boundary), T2 has mean `shift`; -T2 turns its sign.
        return both.cdf([-critical, -critical - shift]) + both.cdf(
            [-critical, -critical + shift]
        )

    shifts = np.linspace(-4, 4, 81)
    for correlation in (0.0, -0.3, crossover._DOUBLED_BELOW):
        assert max(error(correlation, s) for s in shifts) < 0.0501
    # Mutation: without the doubling, strongly correlated ends err more often.
    assert max(error(-0.95, s) for s in shifts) > 0.07


def test_holm_runs_over_the_architectures():
    design = studies.ladder(3, 4, costs=(1.0, 1.0, 1.0))
    means = studies.true_means(design, studies.bent())
    means[design.cells_of("b")] += [0.02, 0.0, -0.02]
    fitted = linear_model.fit(
        design, power.draw_losses(design, means, 0.01, draws=1)[0]
    )
    pairs = equal_compute.compare_all(design, "a")
    alone = crossover.p_values(fitted, pairs[:1])[0][0]
    np.testing.assert_allclose(crossover.p_values(fitted, pairs)[0][0], 2 * alone)


@pytest.mark.slow
def test_false_crossovers_are_rare_also_next_to_one():
    """Equal ones, and the worst case: equal at one end, far apart at the other."""
    design = studies.first_study()
    pairs = equal_compute.compare_all(design, "transformer")
    for shift in (0.0, 0.1):
        means = studies.true_means(design, studies.bent())
        for pair in pairs:
            cells = design.cells_of(pair.architecture)
            ends = np.array([pair.low_flops, pair.high_flops]) ** -0.5
            u = (design.flops_of(cells) ** -0.5 - ends[1]) / (ends[0] - ends[1])
            means[cells] += shift * u  # D is shift at the low end, 0 at the high one.
        losses = power.draw_losses(design, means, 0.018, draws=2000, seed=5)
        p, _ = crossover.p_values(linear_model.fit(design, losses), pairs)
        rate = np.mean(np.any(p <= 0.05, axis=-1))
        print("false crossovers, low ends apart by", shift, rate)
        assert rate <= 0.065
