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
        "multiply_adds": ("counts", "macs_forward_batch"),
        "flops": ("counts", "flops_forward"),
        "flops_non_embedding": ("counts", "flops_forward_non_embedding"),
        "parameters": ("counts", "params_total"),
        "time": ("wall_seconds", "step"),
    }
    assert [fit.cost.key for fit in fits] == list(paths)
    quality = [-c["metrics"]["validation/loss"] for c in contents]
    for fit in fits:
        group, key = paths[fit.cost.key]
        x = np.log10([content[group][key] for content in contents])
        assert fit.fit.slope == pytest.approx(stats.linregress(x, quality).slope)
        assert fit.fit.n == 5
    assert len({fit.fit.slope for fit in fits}) == 5


def test_noisy_runs_leave_the_time_fit_alone(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1, speed__noisy=True)]
    for fit in analysis.fit_all(_rows(tmp_path, contents)):
        is_time = fit.cost.key == "time"
        assert fit.fit.n == (4 if is_time else 5)
        assert fit.left_out == (("run4",) if is_time else ())


def test_unfinished_runs_stand_in_no_fit(tmp_path):
    contents = [*_ladder()[:3], synthetic_study.record("milli", status="stopped")]
    fits = analysis.fit_all(_rows(tmp_path, contents))
    assert {fit.fit.n for fit in fits} == {3}


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
    picos = [record("pico", 0), record("pico", 1, wall_seconds__step=99.0)]
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
