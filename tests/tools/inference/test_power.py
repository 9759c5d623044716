"""Power against closed forms, studies analysed one by one, and fresh ones."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import power
from clinometer.tools.inference import simultaneous
from clinometer.tools.inference import steps as steps_lib

_MARGIN = 0.028


def _simulate(design, **changes):
    settings = {
        "reference": design.architectures[0],
        "curve": studies.bent(),
        "sd": 0.018,
        "margin": _MARGIN,
        "draws": 400,
    }
    return power.simulate(design, **{**settings, **changes})


def test_a_bent_curve_gains_and_bends_as_asked():
    low, high = studies.FLOPS["transformer"][0], studies.FLOPS["transformer"][-1]
    curve = power.bent_curve(low, high, 4.43, 0.142, 2.3)
    ends = curve(np.array([low, high]))
    np.testing.assert_allclose(ends, [4.43, 4.43 - 0.142])
    step = 1e-5
    slopes = [
        (curve(np.array([c * (1 + step)])) - curve(np.array([c])))[0] / step
        for c in (low, high)
    ]
    np.testing.assert_allclose(slopes[0] / slopes[1], 2.3, rtol=1e-3)
    with pytest.raises(errors.InferenceError, match="bend is 1; accepted"):
        power.bent_curve(low, high, 4.43, 0.142, 1)


def test_losses_are_drawn_with_the_variances_asked_for():
    design = studies.ladder(2, 2, initialisations=2)
    losses = power.draw_losses(
        design,
        np.array([4.0, 3.0]),
        {16: 0.02, 32: 0.01},
        order_sd=0.03,
        draws=40000,
        seed=1,
    )
    covariance = np.cov(losses.T)
    same = design.order_of_run[:, np.newaxis] == design.order_of_run
    noise = np.where(design.cell_of_run == 0, 0.02, 0.01) ** 2
    np.testing.assert_allclose(covariance, 0.03**2 * same + np.diag(noise), atol=3e-5)
    np.testing.assert_allclose(
        losses.mean(axis=0), np.array([4.0, 3.0])[design.cell_of_run], atol=1e-3
    )


def test_the_power_is_the_normal_one_where_the_variance_is_known():
    """Two architectures, many replicates: a t test of known standard error."""
    design = studies.ladder(3, 8, costs=(1.0, 1.0), initialisations=3)
    found = _simulate(design, sd=0.03, draws=2000)
    level, gain = found.comparisons
    # D at an end: one run of b and three of a in each of 8 orders, which cancel.
    end = 0.03 * np.sqrt((1 + 1 / 3) / 8)
    for quantity, error in ((level, end / np.sqrt(2)), (gain, end * np.sqrt(2))):
        degrees = 80
        quantile = stats.t.ppf(0.975, degrees)
        # The mean over 2,000 draws of an estimated sd, with 80 degrees of freedom.
        np.testing.assert_allclose(quantity.half_width, quantile * error, rtol=0.01)
        shift = _MARGIN / error
        np.testing.assert_allclose(
            quantity.found_at_margin, stats.nct.sf(quantile, degrees, shift), atol=0.02
        )
        np.testing.assert_allclose(
            quantity.detectable, (quantile + stats.norm.ppf(0.8)) * error, rtol=0.04
        )


def test_the_promised_power_is_what_studies_find():
    """Each study analysed on its own, with a true difference put into its losses."""
    design = studies.ladder(3, 4, costs=(1.0, 1.2, 0.9))
    found = _simulate(design, draws=300, seed=3)
    promised = {(c.architecture, c.quantity): c for c in found.comparisons}
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, 0.018, draws=300, seed=3)
    losses[:, np.isin(design.cell_of_run, design.cells_of("b"))] += _MARGIN
    pairs = equal_compute.compare_all(design, "a")
    judged = simultaneous.family(
        linear_model.fit(design, losses), np.array([p.level for p in pairs])
    )
    share = np.mean(judged.low[:, 0] > 0)
    np.testing.assert_allclose(share, promised["b", "level"].found_at_margin)
    named = outcomes.classify(
        judged.low[:, 1], judged.high[:, 1], _MARGIN, higher_is_better=False
    )
    equal = promised["c", "level"].equal
    for outcome in outcomes.Outcome:
        np.testing.assert_allclose(np.mean(named == outcome.value), equal[outcome])
    np.testing.assert_allclose(sum(equal.values()), 1)


def test_outcomes_out_of_reach_are_named():
    wide = _simulate(studies.ladder(3, 3, costs=(1.0, 1.2)), margin=0.005)
    for c in wide.comparisons:
        assert {"equivalent", "different, negligibly"} <= {*c.out_of_reach}
    narrow = _simulate(studies.ladder(3, 8, costs=(1.0, 1.2)), margin=0.2, sd=0.01)
    for c in narrow.comparisons:  # Too precise to be left in doubt.
        assert c.out_of_reach == ("undecided",)


def test_a_size_held_out_says_what_it_can_support():
    found = _simulate(studies.first_study(), held_out_size=(256, 2.4e13, 2), draws=100)
    held = found.held_out
    assert held.out_of_reach == ("supported",)
    np.testing.assert_allclose(sum(held.verdicts.values()), 1)
    truth = studies.bent()(np.array([studies.FLOPS["transformer"][-1], 2.4e13]))
    np.testing.assert_allclose(held.step, truth[0] - truth[1])
    assert held.width > held.step
    text = power.lines(found)
    assert len(text) == 1 + 22 + 11 + 12 + 1
    assert text[-1].endswith("out of reach: supported")


def test_one_architecture_has_steps_only():
    found = _simulate(studies.ladder(4, (6, 2, 1, 3), initialisations=3))
    assert found.comparisons == () and found.crossovers == {}
    (steps,) = found.steps
    assert list(steps.clear) == ["d16 to d32", "d32 to d64", "d64 to d128"]
    assert steps.own_gain > 0.99


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"reference": "x"}, "architecture is 'x'; accepted: a, b"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"sd": -1.0}, "sd is -1.0; accepted"),
        ({"sd": {16: 0.01, 32: 0.01}}, "sd has no value for width 64"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(errors.InferenceError, match=message):
        _simulate(studies.ladder(3, 3, costs=(1.0, 1.2)), **changes)


def test_a_design_without_replicates_has_no_power():
    design = design_lib.planned(
        {"a": dict(zip((16, 32, 64), studies.ladder_flops(3)))},
        {"a": {16: "1", 32: "1", 64: "1"}},
        {"a": 1},
    )
    with pytest.raises(errors.InferenceError, match="no replicates"):
        _simulate(design)


def _shares(design, sd):
    """Shares of studies: levels worse by the margin, and equal ones equivalent."""
    found = power.simulate(
        design,
        reference="transformer",
        curve=studies.bent(),
        sd=sd,
        margin=_MARGIN,
        draws=2000,
        seed=13,
    )
    levels = [c for c in found.comparisons if c.quantity == "level"]
    gains = [c for c in found.comparisons if c.quantity == "difference of gain"]
    plain = next(c for c in levels if c.architecture == "glu")  # Costs as vanilla.
    return {
        "found": np.mean([c.found_at_margin for c in levels]),
        "equivalent": np.mean([c.equal["equivalent"] for c in levels]),
        "found, cost as vanilla's": plain.found_at_margin,
        "equivalent, cost as vanilla's": plain.equal["equivalent"],
        "equal gain equivalent": max(c.equal["equivalent"] for c in gains),
    }


def _holm_shares(design, sd):
    """Share of levels found by Holm's tests, all being worse by the margin."""
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, sd, draws=2000, seed=13)
    pairs = equal_compute.compare_all(design, "transformer")
    estimates = contrasts.estimate(
        linear_model.fit(design, losses), np.array([p.level for p in pairs])
    )
    worse = dataclasses.replace(estimates, value=estimates.value + _MARGIN)
    return np.mean(simultaneous.holm(worse.p_two_sided()) <= 0.05)


@pytest.mark.slow
def test_the_power_table_of_the_first_study():
    """6/2/1/3 (vanilla's thrice) against 3/1/1/4 at the same cost.

    The study was planned with: a level worse by the margin found in 92 against 62 % of
    studies, an equal one called equivalent in 73 against 15 %, an equal gain never.
    With the noise of 0.018 nats that was stated, ours gives 81 against 52 % and 62
    against 9 % for an architecture that costs as vanilla does. The planned numbers do
    come out, to within two points, with 0.017 nats and with Holm's tests where all
    are worse; but that reading was searched for among some twenty, after the fact, and
    is asserted to hold this code in place, not as the plan's own assumptions.
    """
    finals = studies.first_study()
    rival = studies.first_study((3, 1, 1, 4), (3, 1, 1, 4), vanilla=1)
    costs = [np.sum(d.flops_of(d.cell_of_run)) for d in (finals, rival)]
    assert abs(costs[0] / costs[1] - 1) < 0.1
    for sd in (0.018, 0.017, studies.falling_sd(finals, 0.25)):
        ours, theirs = _shares(finals, sd), _shares(rival, sd)
        print(sd, "6/2/1/3", ours, "Holm", _holm_shares(finals, sd))
        print(sd, "3/1/1/4", theirs, "Holm", _holm_shares(rival, sd))
        assert ours["found"] > theirs["found"] + 0.2
        assert ours["equivalent"] > theirs["equivalent"] + 0.4
        assert ours["equal gain equivalent"] == theirs["equal gain equivalent"] == 0
        if sd == 0.017:
            equal = [s["equivalent, cost as vanilla's"] for s in (ours, theirs)]
            np.testing.assert_allclose(equal, [0.73, 0.15], atol=0.04)
            found = [_holm_shares(design, sd) for design in (finals, rival)]
            np.testing.assert_allclose(found, [0.92, 0.62], atol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.018, {16: 0.025, 32: 0.018, 64: 0.013, 128: 0.009}])
def test_fresh_studies_find_what_was_promised(sd):
    """Promises from one seed, studies from another with true differences."""
    design = studies.ladder(4, (6, 2, 1, 3), (1.0, 1.0, 0.8, 1.6), initialisations=3)
    costs = studies.ladder_flops(4)
    curve = power.bent_curve(costs[0], costs[-1], 4.43, 0.142, 2.3)
    promised = power.simulate(
        design, reference="a", curve=curve, sd=sd, margin=_MARGIN, draws=2000, seed=14
    )
    pairs = equal_compute.compare_all(design, "a")
    means = studies.true_means(design, curve)
    for i, pair in enumerate(pairs):
        moved = means.copy()
        moved[design.cells_of(pair.architecture)] += _MARGIN
        losses = power.draw_losses(design, moved, sd, order_sd=0.01, seed=15)
        fitted = linear_model.fit(design, losses)
        judged = simultaneous.family(fitted, np.array([p.level for p in pairs]))
        share = np.mean(judged.low[:, i] > 0)
        print(pair.architecture, promised.comparisons[i].found_at_margin, share)
        assert abs(share - promised.comparisons[i].found_at_margin) < 0.04
    # The detectable difference is found in 80 %.
    first = promised.comparisons[0]
    moved = means.copy()
    moved[design.cells_of("b")] += first.detectable
    losses = power.draw_losses(design, moved, sd, order_sd=0.01, seed=16)
    judged = simultaneous.family(
        linear_model.fit(design, losses), np.array([p.level for p in pairs])
    )
    assert abs(np.mean(judged.low[:, 0] > 0) - 0.8) < 0.04
    # Steps and crossovers.
    fitted = linear_model.fit(
        design, power.draw_losses(design, means, sd, order_sd=0.01, seed=17)
    )
    clear = np.mean(steps_lib.p_values(fitted, "a") <= 0.05, axis=0)
    np.testing.assert_allclose(clear, list(promised.steps[0].clear.values()), atol=0.04)
    crossed = means.copy()
    ends = np.array([pairs[0].low_flops, pairs[0].high_flops]) ** -0.5
    own = design.cells_of("b")
    u = (design.flops_of(own) ** -0.5 - ends[1]) / (ends[0] - ends[1])
    crossed[own] += _MARGIN * (2 * u - 1)
    fitted = linear_model.fit(
        design, power.draw_losses(design, crossed, sd, order_sd=0.01, seed=18)
    )
    share = np.mean(crossover.p_values(fitted, pairs)[0][:, 0] <= 0.05)
    assert abs(share - promised.crossovers["b"]) < 0.04
