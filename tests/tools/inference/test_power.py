"""Power against closed forms, studies analysed one by one, and fresh ones."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import crossover
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import multiplier
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import power
from clinometer.tools.inference import power_measures
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
    curve = studies.bent_curve(low, high, 4.43, 0.142, 2.3)
    ends = curve(np.array([low, high]))
    np.testing.assert_allclose(ends, [4.43, 4.43 - 0.142])
    step = 1e-5
    slopes = [
        (curve(np.array([c * (1 + step)])) - curve(np.array([c])))[0] / step
        for c in (low, high)
    ]
    np.testing.assert_allclose(slopes[0] / slopes[1], 2.3, rtol=1e-3)


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
    found = _simulate(design, sd=0.03, draws=2000, effects=(0, 1, 1.5))
    # D at an end: one run of b and three of a in each of 8 orders, which cancel.
    end = 0.03 * np.sqrt((1 + 1 / 3) / 8)
    for (one,), error, good in (
        (found.levels, end / np.sqrt(2), "worse"),
        (found.gains, end * np.sqrt(2), "better"),
    ):
        degrees = 80
        quantile = stats.t.ppf(0.975, degrees)
        # The mean over 2,000 draws of an estimated sd, with 80 degrees of freedom.
        np.testing.assert_allclose(one.half_width, quantile * error, rtol=0.01)
        for effect, shares in zip((0, 1, 1.5), one.shares):
            shift = effect * _MARGIN / error
            below_margin = stats.nct.cdf(quantile, degrees, shift)
            decided = shares[good] + shares["different, negligibly"]
            # A share of 2,000 has a standard error of 0.011 at most.
            np.testing.assert_allclose(decided, 1 - below_margin, atol=0.02)
        # 0.011 of the share moves this effect by 1.4 %; three of them.
        np.testing.assert_allclose(
            one.detectable, (quantile + stats.norm.ppf(0.8)) * error, rtol=0.04
        )
    # Own gains and steps: one sided, of one t test and of Holm's for two.
    own = found.own_gains[1]
    error = 0.03 * np.sqrt(2 / 8)  # Tolerances as above.
    np.testing.assert_allclose(own.half_width, quantile * error, rtol=0.01)
    np.testing.assert_allclose(
        own.found, stats.nct.sf(quantile, 80, np.array([0, 1, 1.5]) * _MARGIN / error),
        atol=0.02,
    )  # fmt: skip
    b16, b32, b64 = studies.bent()(design.flops_of(design.cells_of("b")))
    np.testing.assert_allclose(own.on_curve, b16 - b64)
    assert own.sizes == "d16 to d64"
    steps = [step for step in found.steps if step.architecture == "b"]
    assert [step.sizes for step in steps] == ["d16 to d32", "d32 to d64"]
    np.testing.assert_allclose([s.on_curve for s in steps], [b16 - b32, b32 - b64])
    np.testing.assert_allclose(steps[0].half_width, quantile * error, rtol=0.01)
    holm = _holm_of_two(error, _MARGIN)
    np.testing.assert_allclose([s.found[1] for s in steps], holm, atol=0.03)


def _holm_of_two(error, effect):
    """Share of first steps found by Holm: two steps that share their middle size."""
    rng = np.random.default_rng(5)
    a, b, c = rng.standard_normal((3, 200_000)) * error / np.sqrt(2)
    z = (np.stack([a - b, b - c]) + effect) / error
    single, both = stats.t.ppf([0.95, 0.975], 80)
    return np.mean((z[0] > both) | ((z[1] > both) & (z[0] > single)))


def test_the_promised_power_is_what_studies_find():
    """Each study analysed on its own, with a true difference put into its losses."""
    design = studies.ladder(3, 4, costs=(1.0, 1.2, 0.9))
    found = _simulate(design, draws=300, seed=3)
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, 0.018, draws=300, seed=3)
    losses[:, np.isin(design.cell_of_run, design.cells_of("b"))] += _MARGIN
    pairs = equal_compute.compare_all(design, "a")
    fitted = linear_model.fit(design, losses)
    judged = simultaneous.family(fitted, np.array([p.level for p in pairs]))
    b, c = found.levels
    for i, promised in ((0, b.shares[1]), (1, c.shares[0])):
        named = outcomes.classify(
            judged.low[:, i], judged.high[:, i], _MARGIN, higher_is_better=False
        )
        for outcome in outcomes.Outcome:
            share = np.mean(named == outcome.value)
            np.testing.assert_allclose(share, promised[outcome])
        np.testing.assert_allclose(sum(promised.values()), 1)


def test_levels_as_factors_of_compute_study_by_study():
    design = studies.ladder(3, 4, costs=(1.0, 1.2, 0.9))
    found = _simulate(design, sd=0.04, draws=30, seed=3)
    means = studies.true_means(design, studies.bent())
    losses = power.draw_losses(design, means, 0.04, draws=30, seed=3)
    losses[:, np.isin(design.cell_of_run, design.cells_of("b"))] += _MARGIN
    pairs = equal_compute.compare_all(design, "a")
    low, high, lost = [], [], 0
    for losses_of_one in losses:
        one = linear_model.fit(design, losses_of_one)
        own = simultaneous.family(one, np.array([p.level for p in pairs]))
        factor = multiplier.multipliers(one, pairs, own)[0].average
        lost += not factor.bounded
        low.append(factor.low)
        high.append(factor.high)
    promised = found.multipliers[0]
    assert 0 < lost < 15
    np.testing.assert_allclose(promised.unbounded, lost / 30)
    per_decade = pairs[0].reference_gain @ means / pairs[0].decades
    expected = 10 ** (_MARGIN / per_decade), np.median(low), np.median(high)
    np.testing.assert_allclose(promised.factors[1], expected, rtol=0.02)


def test_one_simulation_is_reproduced_by_its_seed():
    design = studies.ladder(3, 2, costs=(1.0, 1.2))
    one = _simulate(design, draws=1200, seed=7)
    assert _simulate(design, draws=1200, seed=7) == one
    assert _simulate(design, draws=1200, seed=8).levels != one.levels
    done = []
    _simulate(design, draws=1200, progress=done.append)
    assert done == [1000, 1200]


def test_outcomes_out_of_reach_are_named():
    wide = _simulate(studies.ladder(3, 3, costs=(1.0, 1.2)), margin=0.005)
    for c in wide.levels + wide.gains:
        assert {"equivalent", "different, negligibly"} <= {*c.out_of_reach}
    narrow = _simulate(studies.ladder(3, 8, costs=(1.0, 1.2)), margin=0.2, sd=0.01)
    for c in narrow.levels + narrow.gains:  # Too precise to be left in doubt.
        assert c.out_of_reach == ("undecided",)


def test_a_size_held_out_says_what_it_can_support():
    size = power_measures.HeldOutSize(256, 2.4e13, 2)
    design = studies.ladder(4, (6, 2, 1, 3), initialisations=3)
    found = _simulate(design, held_out_size=size, draws=100)
    held = found.held_out
    assert held.out_of_reach == ("supported",)
    for shares in held.shares:
        np.testing.assert_allclose(sum(shares.values()), 1)
    at_curve, above = (shares["contradicted"] for shares in held.shares)
    assert above > at_curve
    truth = studies.bent()(np.array([studies.ladder_flops(4)[-1], 2.4e13]))
    np.testing.assert_allclose(held.step, truth[0] - truth[1])
    assert held.width > held.step


def test_one_architecture_has_steps_only():
    design = studies.ladder(4, (6, 2, 1, 3), initialisations=3)
    found = _simulate(design)
    assert found.levels == found.gains == found.multipliers == ()
    assert found.crossovers == {} and found.held_out is None
    sizes = [step.sizes for step in found.steps]
    assert sizes == ["d16 to d32", "d32 to d64", "d64 to d128"]
    assert found.own_gains[0].found_on_curve > 0.99
    assert found.own_gains == _simulate(design, reference=None).own_gains


def test_what_a_design_cannot_know_is_said():
    size = power_measures.HeldOutSize(256, 2.4e13, 2)
    design = studies.one_order(3, (2, 2, 2))
    found = _simulate(design, held_out_size=size)
    assert found.held_out is None
    few, single = found.unknown
    assert "power law with a floor needs 4 or more sizes; a has 3" in few
    assert "all runs share one order" in single
    found = _simulate(studies.ladder(2, 3, costs=(1.0, 1.2)))
    (few,) = found.unknown
    assert "a loss at equal FLOPs needs 3 or more sizes; b has 2" in few
    assert found.levels == () and len(found.steps) == 2


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


def _closed_form(error, quantile, degrees):
    """Shares of studies by the normal and chi distributions, the quantile given.

    Args:
        error: standard error of a level, nats.
        quantile: of the simultaneous intervals.
        degrees: of freedom of the estimated sd.

    Returns:
        Share that finds the margin, and share that calls an equal level equivalent.
    """
    ratios = np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, degrees) / degrees)
    room = _MARGIN / error - quantile * ratios
    found = stats.norm.cdf(room)
    return np.mean(found), np.mean(np.maximum(2 * found - 1, 0))


@pytest.mark.slow
def test_the_power_table_of_the_first_study():
    """6/2/1/3 (vanilla's thrice) against 3/1/1/4 at the same cost.

    The study was planned with these numbers, for a noise of 0.018 nats: a level worse
    by the margin found in 92 against 62 % of studies, an equal one called equivalent in
    73 against 15 %, an equal gain never. Ours are 81 against 52 % and 62 against 9 %
    for an architecture that costs as vanilla does (on average 78 against 46 % and 52
    against 6 %), and never.

    No noise makes the planned numbers one interval's. Its half-width H does not depend
    on the means, so with a symmetric error e a level of the margin is found in the
    share P(e < margin - H), and an equal one is equivalent in P(|e| < margin - H),
    which is at least twice the first less 1: 84 against 24 %. Each pair alone comes out
    with other rules than the exclusive outcomes of one simultaneous interval: 91
    against 61 % with step-down tests where all eleven are worse, 73 against 16 % with
    two one-sided tests at 5 % / 11. Which were meant is not known.
    """
    finals = studies.first_study()
    rival = studies.first_study((3, 1, 1, 4), (3, 1, 1, 4), vanilla=1)
    costs = [np.sum(d.flops_of(d.cell_of_run)) for d in (finals, rival)]
    assert abs(costs[0] / costs[1] - 1) < 0.1
    shares = []
    for design, runs in (
        (finals, ((6, 18), (3, 9))),
        (rival, ((3, 3), (4, 4))),
    ):
        found = _simulate(design, draws=2000, seed=13)
        plain = next(c for c in found.levels if c.architecture == "glu")
        # Both at vanilla's d16 and d128, in the same orders.
        error = 0.018 * np.sqrt(sum(1 / own + 1 / vanilla for own, vanilla in runs) / 4)
        pairs = equal_compute.compare_all(design, "transformer")
        means = studies.true_means(design, studies.bent())
        judged = simultaneous.family(
            linear_model.fit(
                design, power.draw_losses(design, means, 0.018, draws=200)
            ),
            np.array([p.level for p in pairs]),
        )
        expected = _closed_form(
            error, np.median(judged.quantile), np.median(judged.degrees)
        )
        ours = plain.shares[1]["worse"], plain.shares[0]["equivalent"]
        print(ours, expected, np.median(judged.quantile))
        np.testing.assert_allclose(ours, expected, atol=0.03)
        assert ours[1] > 2 * ours[0] - 1 - 0.03
        assert {c.shares[0]["equivalent"] for c in found.gains} == {0}
        for c in found.gains:
            assert "equivalent" in c.out_of_reach
        shares.append(ours)
    assert np.all(np.subtract(*shares) > [0.2, 0.4])


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.018, {16: 0.025, 32: 0.018, 64: 0.013, 128: 0.009}])
def test_fresh_studies_find_what_was_promised(sd):
    """Promises from one seed, studies from another with true differences."""
    design = studies.ladder(4, (6, 2, 1, 3), (1.0, 1.0, 0.8, 1.6), initialisations=3)
    costs = studies.ladder_flops(4)
    curve = studies.bent_curve(costs[0], costs[-1], 4.43, 0.142, 2.3)
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
        share = np.mean((judged.low[:, i] > 0) & (judged.high[:, i] > _MARGIN))
        print(pair.architecture, promised.levels[i].shares[1]["worse"], share)
        assert abs(share - promised.levels[i].shares[1]["worse"]) < 0.04
    # The detectable difference is found in 80 %.
    first = promised.levels[0]
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
    own = [step.found_on_curve for step in promised.steps if step.architecture == "a"]
    np.testing.assert_allclose(clear, own, atol=0.04)
    crossed = means.copy()
    ends = np.array([pairs[0].low_flops, pairs[0].high_flops]) ** -0.5
    own = design.cells_of("b")
    u = (design.flops_of(own) ** -0.5 - ends[1]) / (ends[0] - ends[1])
    crossed[own] += _MARGIN * (2 * u - 1)
    fitted = linear_model.fit(
        design, power.draw_losses(design, crossed, sd, order_sd=0.01, seed=18)
    )
    share = np.mean(crossover.p_values(fitted, pairs)[0][:, 0] <= 0.05)
    assert abs(share - promised.crossovers["b"][1]) < 0.04
