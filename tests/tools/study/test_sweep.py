"""Follows sweeps through run directories that are written as their runs would be."""

import math

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study import errors
from clinometer.tools.study import sweep
from clinometer.tools.study.tuning import table

_MODELS = ("transformer-pico", "transformer-nano", "transformer-micro")
_OPTIMA = {32: 0.03, 48: 0.026, 96: 0.019}


def _write(out, run, loss):
    """Writes the record of a sweep's run; a loss of None is that of a diverged run."""
    changes = {"seed": run.seed}
    if loss is None:
        changes |= {"status": "failed", "error": "DivergedError: step 3: nan"}
    record = synthetic_study.record(**changes)
    record["metrics"]["validation/loss"] = loss
    record["config"]["study"] = run.marks()
    synthetic_study.write_run(sweep.folder_of(out, run), record)


def _loss(run):
    width = dict(zip(_MODELS, _OPTIMA))[run.model]
    return measured.bowl(_OPTIMA[width])(run.learning_rate)


def _swept(ladder, out, loss):
    while (progress := sweep.standing(ladder, out)).missing:
        for run in progress.missing:
            _write(out, run, loss(run))
    return progress


def test_models_are_tuned_by_architecture_and_layers():
    models = ["transformer-pico", "transformer-NL4-PI", "switch-pico", *_MODELS]
    found = sweep.ladders([*models, "transformer-FF64-PI"])
    assert [(one.architecture, one.layers) for one in found] == [
        ("transformer", (2, 2)),
        ("transformer", (4, 4)),
        ("switch", (2, 2)),
    ]
    assert found[0].models == dict(zip((32, 48, 96), _MODELS))


def test_the_sweep_s_runs_and_its_entry(tmp_path):
    (ladder,) = sweep.ladders(_MODELS)
    progress = sweep.standing(ladder, tmp_path)
    assert [run.name for run in progress.missing] == [
        f"{model}-r{rate}-s1000000"
        for model in (_MODELS[0], _MODELS[2])
        for rate in (0.015, 0.03, 0.06)
    ]
    progress = _swept(ladder, tmp_path, _loss)
    names = [run.name for run in progress.runs]
    assert (
        len(names) == len(set(names)) == len(list((tmp_path / "sweep/runs").iterdir()))
    )
    assert {run.role for run in progress.runs} == {"sweep"}
    made = sweep.entry(ladder, progress, {"train_steps": 600}, tmp_path)
    assert made.rates == pytest.approx({32: 0.03, 96: 0.019}, rel=1e-3)
    assert (made.check.width, made.check.passed) == (48, True)
    assert (made.corpus_hash, made.seed) == ("c0ffee", sweep.SEED)
    assert made.measured["host_cpu"] == "AMD EPYC"
    table.write(tmp_path / "rates.json", table.Table().updated([made]))
    read = table.read(tmp_path / "rates.json").entries[0]
    assert read.to_json() == made.to_json()
    text = sweep.render([read])
    assert "0.019" in text and "the line holds" in text


def test_a_sweep_goes_on_where_it_was_interrupted(tmp_path):
    (ladder,) = sweep.ladders(_MODELS)
    first = sweep.standing(ladder, tmp_path).missing
    _write(tmp_path, first[0], _loss(first[0]))
    assert sweep.standing(ladder, tmp_path).missing == first[1:]
    assert sweep.standing(ladder, tmp_path).runs == first


def test_diverged_runs_belong_to_the_cliff(tmp_path):
    (ladder,) = sweep.ladders(_MODELS[:1])
    progress = _swept(
        ladder, tmp_path, lambda run: None if run.learning_rate > 0.05 else _loss(run)
    )
    made = sweep.entry(ladder, progress, {}, tmp_path)
    (size,) = made.sizes
    assert size.cliff == 0.06 and size.rate <= 0.04
    assert [point.loss for point in size.losses if point.rate == 0.06] == [None]


def test_a_size_that_never_trains_has_no_rate(tmp_path):
    (ladder,) = sweep.ladders(_MODELS[:1])
    progress = _swept(ladder, tmp_path, lambda run: None)
    assert not any(map(math.isfinite, progress.tuning.sweeps[32].values()))
    with pytest.raises(errors.StudyError, match="transformer-pico: every run"):
        sweep.entry(ladder, progress, {}, tmp_path)
