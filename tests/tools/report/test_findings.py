"""Compares findings with hand calculations, and with the rules that they replace."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import study_fit

SIZES = tuple(synthetic_study.SIZES)
FLOPS = {
    size: 600 * synthetic_study.record(size)["counts"]["flops_train_step"]
    for size in SIZES
}


def _find(tmp_path, losses, margin=None):
    synthetic_study.write_losses(tmp_path, losses)
    study = study_fit.of_rows(synthetic_study.rows(tmp_path))
    return findings_lib.find(study, margin)


def _one_order(replicates, **means):
    """Losses of vanilla: pico replicated with these deviations, other sizes once."""
    pico = means.pop("pico")
    losses = {
        ("transformer", "pico", 0, seed): pico + deviation
        for seed, deviation in enumerate(replicates)
    }
    return losses | {("transformer", s, 0, 0): mean for s, mean in means.items()}


def test_the_own_gain_is_the_secant(tmp_path):
    noise = np.array([-0.01, 0.004, 0.006])
    found = _find(tmp_path, _one_order(noise, pico=4.5, nano=4.35, milli=4.2))
    (gain,) = found.gains
    # The variance of the larger size is that between the runs of the smaller one.
    reach = stats.t.ppf(0.975, 2) * noise.std(ddof=1) * np.sqrt(1 / 3 + 1)
    estimate = gain.gain
    np.testing.assert_allclose(
        [estimate.value, estimate.low, estimate.high],
        0.3 + reach * np.array([0, -1, 1]),
    )
    decades = np.log10(FLOPS["milli"] / FLOPS["pico"])
    np.testing.assert_allclose(gain.per_decade.value, 0.3 / decades)
    np.testing.assert_allclose(gain.per_decade.low, estimate.low / decades)
    assert [end.name for end in gain.ends] == ["pico", "milli"]
    (pico, *_, milli) = found.sizes
    assert (pico.runs, milli.runs) == (3, 1)
    assert pico.sd == pytest.approx(noise.std(ddof=1)) and milli.sd == pico.sd
    half = stats.t.ppf(0.975, 2) * pico.sd / np.sqrt(3)
    assert pico.mean.high - pico.mean.value == pytest.approx(half)


def test_a_step_beyond_twice_the_range_of_two_seeds_is_not_clear(tmp_path):
    """The former rule: a size is better beyond twice the range of replicates."""
    found = _find(tmp_path, _one_order([-5e-4, 5e-4], pico=4.5, nano=4.497))
    (step,) = found.steps
    assert step.gain > 2 * 1e-3
    error = np.std([-5e-4, 5e-4], ddof=1) * np.sqrt(1 / 2 + 1)
    assert step.standard_error == pytest.approx(error)
    assert step.p_value == pytest.approx(stats.t.sf(0.003 / error, 1))
    assert step.clear is False


def test_steps_are_adjusted_by_holm(tmp_path):
    noise = np.array([-0.002, 0.001, 0.001, 0.0])
    means = {"pico": 4.50, "nano": 4.48, "milli": 4.475}
    found = _find(tmp_path, _one_order(noise, **means))
    error = noise.std(ddof=1) * np.sqrt([1 / 4 + 1, 2])
    p = stats.t.sf([0.02, 0.005] / error, 3)
    assert p[0] < p[1] < 0.05
    np.testing.assert_allclose([s.p_value for s in found.steps], [2 * p[0], p[1]])


def test_without_replicates_there_are_differences_and_no_verdict(tmp_path):
    losses = {
        (name, size, 0, 0): 4.5 - 0.1 * i + shift
        for name, shift in (("transformer", 0), ("glu", 0.05))
        for i, size in enumerate(SIZES)
    }
    found = _find(tmp_path, losses)
    assert "error between runs is unknown" in found.notes[0]
    assert "no replicates" in found.notes[0]
    assert [step.gain for step in found.steps] == pytest.approx([0.1] * 6)
    assert all(step.clear is None and step.p_value is None for step in found.steps)
    assert {size.mean.low for size in found.sizes} == {None}
    assert all(gain.gain.low is None and gain.spread is None for gain in found.gains)
    (glu,) = found.compared
    assert glu.level.estimate == findings_lib.Estimate(pytest.approx(0.05))
    assert glu.level.outcome is None and glu.multiplier is None


def _two(rng, shift, orders=(1, 2, 3)):
    """Vanilla and glu at four sizes, in common orders."""
    return {
        (name, size, order, 10 * order): (
            4.5 - 0.1 * i + 0.03 * order + moved + 0.004 * rng.standard_normal()
        )
        for name, moved in (("transformer", 0), ("glu", shift))
        for i, size in enumerate(SIZES)
        for order in orders
    }


def test_levels_at_equal_flops_in_common_orders(tmp_path):
    losses = _two(np.random.default_rng(0), 0.05)
    found = _find(tmp_path, losses)
    # The ranges are equal, so the ends are sizes; orders cancel, cell by cell.
    table = np.array([*losses.values()]).reshape(2, 4, 3)
    ends = (table[1] - table[0]).mean(axis=1)[[0, 3]]
    (glu,) = found.compared
    np.testing.assert_allclose(glu.level.estimate.value, ends.mean())
    np.testing.assert_allclose(glu.gain.estimate.value, ends[0] - ends[1])
    np.testing.assert_allclose(glu.ends, (FLOPS["pico"], FLOPS["milli"]))
    assert glu.level.outcome == "worse" and glu.level.estimate.low > 0
    assert glu.crossing.crossing == "no change of sign between the ends"
    gain = table[0].mean(axis=1)[0] - table[0].mean(axis=1)[3]
    decades = np.log10(FLOPS["milli"] / FLOPS["pico"])
    assert glu.multiplier.average.value == pytest.approx(
        10 ** (ends.mean() / gain * decades)
    )
    assert glu.multiplier.average.low > 1
    assert any("conditional on the 3 orders" in note for note in found.notes)


def test_only_a_margin_makes_architectures_equivalent(tmp_path):
    losses = _two(np.random.default_rng(1), 0.0)
    synthetic_study.write_losses(tmp_path, losses)
    study = study_fit.of_rows(synthetic_study.rows(tmp_path))
    assert findings_lib.find(study).compared[0].level.outcome == "undecided"
    with_margin = findings_lib.find(study, 0.03)
    assert with_margin.compared[0].level.outcome == "equivalent"


def test_what_cannot_be_compared_has_a_reason_and_harms_no_other(tmp_path):
    losses = _two(np.random.default_rng(2), 0.05)
    alone = _find(tmp_path / "two", losses)
    short = {("mos", size, 1, 10): 4.6 for size in SIZES[:2]}
    found = _find(tmp_path / "three", losses | short)
    by_name = {one.architecture: one for one in found.compared}
    assert by_name["mos"].level is None
    assert "needs 3 or more sizes; mos has 2" in by_name["mos"].reason
    # The family is that of glu alone, whose interval stays as it is.
    assert by_name["glu"].level.estimate.low == pytest.approx(
        alone.compared[0].level.estimate.low, abs=1e-3
    )


def test_one_order_is_said(tmp_path):
    found = _find(tmp_path, _one_order([0.0, 0.01], pico=4.5, nano=4.4))
    assert any("share one order of the data" in note for note in found.notes)


def test_orders_that_stand_between_sizes_are_no_crash(tmp_path):
    losses = {
        ("transformer", size, order, seed): 4.5 - 0.1 * i + 0.001 * seed
        for i, (size, order) in enumerate((("pico", 1), ("nano", 2)))
        for seed in range(2)
    }
    found = _find(tmp_path, losses)
    assert found.gains[0].gain is None and "no order connects" in found.gains[0].reason
    assert found.steps == () and found.sizes[0].mean.low is None


def test_nothing_finished_is_one_note(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record(status="failed"))
    found = findings_lib.find(study_fit.of_rows(synthetic_study.rows(tmp_path)))
    assert found.notes == (
        "Nothing can be inferred: runs: none given; one or more finished runs.",
    )
