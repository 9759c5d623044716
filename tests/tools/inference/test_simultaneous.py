"""Families against Tukey's and Dunnett's methods, SciPy's integrals and simulation."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power
from clinometer.tools.inference import simultaneous


def _pairs(k):
    """Correlation of all differences of k equally precise means."""
    rows = np.array(
        [np.eye(k)[i] - np.eye(k)[j] for i in range(k) for j in range(i + 1, k)]
    )
    return rows @ rows.T / 2


@pytest.mark.parametrize("k, degrees", [(3, 8), (5, 20), (4, 4)])
def test_all_pairs_have_tukeys_quantile(k, degrees):
    expected = stats.studentized_range.ppf(0.95, k, degrees) / np.sqrt(2)
    found = simultaneous.max_t_quantile(_pairs(k), degrees)
    np.testing.assert_allclose(found, expected, atol=0.004)
    # Mutation: without the correlation the quantile is larger.
    assert simultaneous.max_t_quantile(np.eye(len(_pairs(k))), degrees) > found + 0.01


def test_the_probability_is_scipys_integral():
    correlation = 0.25 * np.ones((4, 4)) + 0.75 * np.eye(4)
    bound = np.array([1.0, 2.0, 3.0])
    expected = [
        stats.multivariate_t(shape=correlation, df=9).cdf(
            4 * [b], lower_limit=4 * [-b], random_state=0
        )
        for b in bound
    ]
    found = simultaneous.max_t_probability(correlation, 9, bound)
    np.testing.assert_allclose(found, expected, atol=0.002)


def test_one_contrast_has_its_own_quantile():
    np.testing.assert_allclose(
        simultaneous.max_t_quantile(np.eye(1), 7), stats.t.ppf(0.975, 7)
    )
    # Two copies of one contrast are one: a singular correlation.
    np.testing.assert_allclose(
        simultaneous.max_t_quantile(np.ones((2, 2)), 7),
        stats.t.ppf(0.975, 7),
        atol=2e-3,
    )


def test_intervals_and_p_values_are_dunnetts():
    """Groups of one width in one order: a balanced comparison with a control."""
    rng = np.random.default_rng(3)
    groups = [0.02 * rng.standard_normal(5) + m for m in (4.0, 4.02, 4.01, 3.97)]
    runs = [
        design_lib.Run(f"{name}{i}", name, 16, "0", str(i), 1e11, loss)
        for name, values in zip("abcd", groups)
        for i, loss in enumerate(values)
    ]
    design, losses = design_lib.from_runs(runs)
    rows = np.array([contrasts.gain(design, i, 0) for i in (1, 2, 3)])
    judged = simultaneous.family(linear_model.fit(design, losses), rows)
    theirs = stats.dunnett(*groups[1:], control=groups[0], random_state=0)
    interval = theirs.confidence_interval()
    np.testing.assert_allclose(judged.low, interval.low, atol=2e-4)
    np.testing.assert_allclose(judged.high, interval.high, atol=2e-4)
    np.testing.assert_allclose(
        simultaneous.adjusted_p(judged), theirs.pvalue, atol=0.003
    )


def test_quantiles_of_many_data_sets_are_those_of_each():
    design = studies.ladder(4, 3, (1.0, 1.2, 0.9))
    losses = power.draw_losses(
        design, studies.true_means(design, studies.bent()), 0.02, draws=20
    )
    rows = np.array([p.level for p in equal_compute.compare_all(design, "a")])
    together = simultaneous.family(linear_model.fit(design, losses), rows)
    for i in (0, 7, 19):
        apart = simultaneous.family(linear_model.fit(design, losses[i]), rows)
        np.testing.assert_allclose(together.quantile[i], apart.quantile, atol=0.02)
        np.testing.assert_allclose(together.low[i], apart.low, atol=5e-4)


def test_holm_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(simultaneous.holm(p), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(
        simultaneous.holm(np.stack([p, p[::-1]]))[1], [0.02, 0.06, 0.06, 0.03]
    )
    np.testing.assert_allclose(simultaneous.holm([0.6, 0.9]), [1.0, 1.0])


def family_coverage(design, rows, power_of_width, curve=None, draws=2000, seed=2):
    """Share of studies in which all simultaneous intervals hold."""
    curve = curve or studies.bent()
    means = studies.true_means(design, curve)
    losses = power.draw_losses(
        design,
        means,
        studies.falling_sd(design, power_of_width),
        order_sd=0.01,
        draws=draws,
        seed=seed,
    )
    judged = simultaneous.family(linear_model.fit(design, losses), rows)
    truth = rows @ means
    return np.mean(np.all((judged.low <= truth) & (truth <= judged.high), axis=-1))


_FAMILIES = {
    "3 sizes": studies.ladder(3, 3, (1.0, 1.3, 0.9)),
    "4 sizes": studies.ladder(4, 3, (1.0, 1.3, 0.9, 1.1)),
    "8 sizes": studies.ladder(8, 2, (1.0, 1.3, 0.9)),
    "the first study": studies.first_study(),
}


@pytest.mark.slow
@pytest.mark.parametrize("power_of_width", [0.0, 0.5])
@pytest.mark.parametrize("quantity", ["level", "gain_difference"])
@pytest.mark.parametrize("name", _FAMILIES)
def test_families_cover_together(name, quantity, power_of_width):
    design = _FAMILIES[name]
    pairs = equal_compute.compare_all(design, design.architectures[0])
    rows = np.array([getattr(pair, quantity) for pair in pairs])
    covered = family_coverage(design, rows, power_of_width)
    print(name, quantity, power_of_width, covered)
    assert 0.93 < covered < 0.97


@pytest.mark.slow
def test_single_intervals_would_not_cover_together():
    """Mutation: each architecture's own t quantile errs in one study of three."""
    design = studies.first_study()
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, 0.018, draws=2000)
    rows = np.array([p.level for p in equal_compute.compare_all(design, "transformer")])
    low, high = contrasts.estimate(linear_model.fit(design, losses), rows).interval()
    truth = rows @ means
    assert np.mean(np.all((low <= truth) & (truth <= high), axis=-1)) < 0.8


def family_wise_error(offset=0.0, sd=0.018, draws=2000, seed=4):
    """Share of studies with a false difference among eleven equal architectures.

    Args:
        offset: nats that every model but vanilla's loses at d128, by a rate off its
            optimum.
        sd: of a run, nats.
        draws: studies.
        seed: of the random numbers.
    """
    design = studies.first_study()
    means = studies.true_means(design, studies.bent())
    for i, cell in enumerate(design.cells):
        if cell.width == 128 and cell.architecture != "transformer":
            means[i] += offset
    losses = power.draw_losses(
        design, means, sd, order_sd=0.006, draws=draws, seed=seed
    )
    fitted = linear_model.fit(design, losses)
    pairs = equal_compute.compare_all(design, "transformer")
    rates = []
    for quantity in ("level", "gain_difference"):
        judged = simultaneous.family(
            fitted, np.array([getattr(p, quantity) for p in pairs])
        )
        rates.append(np.mean(np.any((judged.low > 0) | (judged.high < 0), axis=-1)))
    return rates


@pytest.mark.slow
def test_equal_architectures_seldom_differ():
    rates = family_wise_error()
    print("family-wise error, level and difference of gain", rates)
    assert max(rates) <= 0.065


@pytest.mark.slow
def test_rates_off_their_optimum_make_false_differences():
    """Reported: 0.35 in ln(rate) at the largest size costs K 0.35^2 / 2 nats.

    K, the curvature in ln(rate), is 0.2 to 0.3 by vanilla's sweep at d16 and d128 and
    0.95 at d64, whose right-hand neighbour is on the cliff.
    """
    for curvature in (0.26, 0.5, 0.95):
        rates = family_wise_error(0.5 * curvature * 0.35**2)
        print("rates off by 0.35, curvature", curvature, rates)
        assert min(rates) > 0.15
    assert min(rates) > 0.5
