"""Compares slopes, exclusions and separation with SciPy and hand-made cases."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors
from clinometer.tools.report import analysis
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib


def _rows(tmp_path, contents):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content)
    return [rows_lib.make_row(run) for run in records.load_runs(tmp_path)]


def _ladder():
    return [synthetic_study.record(s) for s in synthetic_study.SIZES]


def test_each_cost_has_the_slope_of_linregress(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1)]
    fits = analysis.fit_all(_rows(tmp_path, contents))
    paths = {
        "training_flops": ("counts", "flops_train_step"),
        "flops": ("counts", "flops_forward"),
        "flops_non_embedding": ("counts", "flops_forward_non_embedding"),
        "parameters": ("counts", "params_total"),
        "time": ("wall_seconds", "step"),
        "multiply_adds": ("counts", "macs_forward_batch"),
    }
    assert [fit.cost.key for fit in fits] == list(paths)
    quality = [-c["metrics"]["validation/loss"] for c in contents]
    for fit in fits:
        group, key = paths[fit.cost.key]
        x = np.log10([content[group][key] for content in contents])
        assert fit.fit.slope == pytest.approx(stats.linregress(x, quality).slope)
        assert fit.fit.n == 5
    # Against the FLOPs of the run and of its forward pass the slope is the same.
    assert len({round(fit.fit.slope, 9) for fit in fits}) == 5


def test_noisy_runs_leave_the_time_fit_alone(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1, speed__noisy=True)]
    for fit in analysis.fit_all(_rows(tmp_path, contents)):
        is_time = fit.cost.key == "time"
        assert fit.fit.n == (4 if is_time else 5)
        why = {"run4": "its speed is noisy or was measured beside other work"}
        assert fit.left_out == (why if is_time else {})


def test_unfinished_runs_stand_in_no_fit(tmp_path):
    contents = [*_ladder()[:3], synthetic_study.record("milli", status="stopped")]
    fits = analysis.fit_all(_rows(tmp_path, contents))
    assert {fit.fit.n for fit in fits} == {3}
    why = {"run3": "stopped at step 600 of 600"}
    assert all(fit.left_out == why for fit in fits)


def test_too_few_points_say_why(tmp_path):
    rows = _rows(tmp_path, _ladder()[:2])
    fits = analysis.fit_all(rows)
    assert all(fit.fit.interval is None for fit in fits)
    assert "3 or more models" in fits[0].reason
    alone = analysis.fit_all(rows[:1])
    assert alone[0].fit is None and "2 or more" in alone[0].reason
    assert "4 or more" in analysis.fit_power_laws(rows)["transformer"]


def test_runs_of_one_model_are_one_cost_however_long_they_took(tmp_path):
    record = synthetic_study.record
    picos = [record("pico", 0), record("pico", 1, speed__steps_per_second_median=0.5)]
    rows = _rows(tmp_path, [*picos, record("nano")])
    (time,) = [fit for fit in analysis.fit_all(rows) if fit.cost.is_time]
    assert time.fit.n_distinct == 3 and time.fit.interval is None
    (time,) = [fit for fit in analysis.fit_all(rows[:2]) if fit.cost.is_time]
    assert time.fit is None and "2 or more models, got 1" in time.reason


def test_other_corpora_are_refused(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1, data__corpus_hash="odd")]
    with pytest.raises(errors.FitError, match="odd: run4"):
        analysis.fit_all(_rows(tmp_path, contents))


def test_separation(tmp_path):
    losses = {"pico": (4.50, 4.52), "nano": (4.40,), "micro": (4.37,)}
    contents = [
        synthetic_study.record(size, seed, **{"metrics__validation/loss": loss})
        for size, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    first, second = analysis.separation(_rows(tmp_path, contents))
    assert (first.smaller, first.larger) == ("transformer-pico", "transformer-nano")
    assert first.drop == pytest.approx(4.51 - 4.40)
    assert first.needed == pytest.approx(2 * 0.02)
    assert first.clear is True
    assert second.drop == pytest.approx(0.03) and second.clear is False


def test_separation_without_replicates_is_unknown(tmp_path):
    steps = analysis.separation(_rows(tmp_path, _ladder()))
    assert [step.clear for step in steps] == [None] * 3


def test_several_sizes_are_not_compared_across_conditions(tmp_path):
    contents = [
        synthetic_study.record("pico", config__schedule={"learning_rate": rate})
        for rate in (0.006, 0.03)
    ]
    contents.append(
        synthetic_study.record("nano", config__schedule={"learning_rate": 0.006})
    )
    rows = _rows(tmp_path, contents)
    # Two rates of one model are no replicates, although they may share a fit.
    mixed = ("rate_protocol", "learning_rate")
    assert analysis.fit_all(rows, mixed)[0].fit.n == 3
    assert analysis.seed_spread(rows) is None
    assert analysis.separation(rows) == []
    with pytest.raises(errors.FitError, match=r"\(rate_protocol\). fixed at 0.006"):
        analysis.fit_all(rows)


def test_the_primary_cost_is_that_of_the_whole_run(tmp_path):
    record = synthetic_study.record()
    (row,) = _rows(tmp_path, [record])
    expected = 600 * record["counts"]["flops_train_step"]
    assert row["training_flops"] == expected
    assert row["papers_macs_forward_batch"] == record["counts"]["macs_forward_batch"]
    fits = analysis.fit_all([row])
    assert fits[0].cost.column == "training_flops"
    assert "papers" in fits[-1].cost.title and "128" in fits[-1].cost.title
    # A run that stopped has paid for its own steps only.
    stopped = synthetic_study.record(status="stopped", metrics__step=40)
    (row,) = _rows(tmp_path / "stopped", [stopped])
    assert row["training_flops"] == expected / 15


def test_several_devices_share_no_fit_against_time(tmp_path):
    contents = _ladder()
    contents[3]["device"]["host_cpu"] = "Another"
    rows = _rows(tmp_path, contents)
    for fit in analysis.fit_all(rows):
        assert (fit.fit is None) == fit.cost.is_time
        if fit.cost.is_time:
            assert "processor (host_cpu)" in fit.reason
            assert "Another: run3" in fit.reason
            assert "--mixed host_cpu" in fit.reason
    assert all(fit.fit is not None for fit in analysis.fit_all(rows, ("host_cpu",)))


def test_an_architecture_whose_runs_all_failed_is_in_every_fit(tmp_path):
    lost = synthetic_study.record("pico", architecture="mos", status="failed")
    fits = analysis.fit_all(_rows(tmp_path, [*_ladder(), lost]))
    assert {fit.architecture for fit in fits} == {"transformer", "mos"}
    assert all(fit.left_out for fit in fits if fit.architecture == "mos")
    assert "got 0" in fits[0].reason


def test_power_laws_are_fitted_to_the_means_of_the_sizes(tmp_path):
    seeds = [synthetic_study.record("pico", seed) for seed in (1, 2)]
    law = analysis.fit_power_laws(_rows(tmp_path, [*_ladder(), *seeds]))["transformer"]
    assert len(law.residuals) == 4  # Not 6.
