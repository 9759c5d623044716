"""Tests which learning rates the runs of a study get, and from which table."""

import pytest

from clinometer.tests.tools.study.tuning import example_table
from clinometer.tools.study import errors
from clinometer.tools.study import plan
from clinometer.tools.study import run_rates
from clinometer.tools.study import study_config
from clinometer.tools.study import sweep
from clinometer.tools.study.configs import study as default
from clinometer.tools.study.tuning import table
from clinometer.train import errors as train_errors

_RUNS = [plan.PlannedRun(f"transformer-{size}", 0) for size in ("pico", "milli")]


def _study(**protocol):
    config = default.get_config()
    config.protocol.update(protocol)
    return study_config.read(config)


def _write(path, study, **changes):
    entry = example_table.entry(settings=study.protocol.rate_settings(), **changes)
    made = example_table.made(entry)
    table.write(path, made)
    return made


def test_each_width_gets_its_own_rate(tmp_path):
    study = _study()
    made = _write(tmp_path / "rates.json", study)
    rated = run_rates.rate(study, _RUNS, tmp_path, "c0ffee")
    pico, milli = rated.runs
    assert milli.learning_rate == 0.018
    # d32 is a third of the way, in ln(width), from d16 to d128.
    assert pico.learning_rate == pytest.approx(
        0.036 ** (2 / 3) * 0.018 ** (1 / 3), 1e-4
    )
    assert {run.rate_table for run in rated.runs} == {made.sha256}
    assert {run.rate_corpus for run in rated.runs} == {made.entries[0].corpus_hash}
    assert {run.fixed_rate for run in rated.runs} == {None}
    assert rated.remarks == ()
    (remark,) = run_rates.rate(study, _RUNS, tmp_path, "another").remarks
    assert "another token store" in remark


def test_one_rate_for_all_is_said(tmp_path):
    rated = run_rates.rate(_study(learning_rate=0.006), _RUNS, tmp_path, None)
    for run in rated.runs:
        assert (run.learning_rate, run.fixed_rate) == (0.006, 0.006)
        assert run.rate_table is None
    (remark,) = rated.remarks
    assert "0.006, which is not tuned" in remark


def test_the_folder_s_table_comes_before_the_shipped_one(tmp_path):
    study = _study()
    assert run_rates.table_path(study, tmp_path) == table.SHIPPED
    _write(tmp_path / "rates.json", study)
    assert run_rates.table_path(study, tmp_path) == tmp_path / "rates.json"
    named = _study(rates=str(tmp_path / "mine.json"))
    assert run_rates.table_path(named, tmp_path) == tmp_path / "mine.json"
    with pytest.raises(errors.StudyError, match="mine.json: No such file"):
        run_rates.rate(named, _RUNS, tmp_path, None)


def test_final_runs_have_other_seeds_than_the_sweep(tmp_path):
    study = _study()
    _write(tmp_path / "rates.json", study, seed=sweep.SEED)
    run = plan.PlannedRun("transformer-pico", sweep.SEED)
    with pytest.raises(train_errors.ConfigError, match="the seed 1000000 is that of"):
        run_rates.rate(study, [run], tmp_path, None)


def test_extrapolation_only_where_the_config_asks(tmp_path):
    run = plan.PlannedRun("transformer-tiny", 0)  # d256, but of four layers.
    sizes = (example_table.size(64, 0.02), example_table.size(128, 0.01))
    _write(tmp_path / "rates.json", _study(), layers=(4, 4), sizes=sizes)
    with pytest.raises(train_errors.ConfigError, match="64, 128, and this is 256"):
        run_rates.rate(_study(), [run], tmp_path, None)
    rated = run_rates.rate(_study(extrapolate=True), [run], tmp_path, None)
    assert rated.runs[0].learning_rate == pytest.approx(0.005)
    assert "extrapolated" in rated.remarks[0]
