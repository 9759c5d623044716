"""Tests the warnings about runs; a healthy study has none."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import health
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib


def _warnings(tmp_path, *contents, spikes=()):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content, spikes)
    runs = records.load_runs(tmp_path)
    metrics = {run.name: run.metrics() for run in runs}
    return health.warnings([rows_lib.make_row(run) for run in runs], metrics)


def test_sound_runs_give_none(tmp_path):
    record = synthetic_study.record
    assert _warnings(tmp_path, record(), record("nano")) == []


def test_each_finding_is_told(tmp_path):
    record = synthetic_study.record
    found = _warnings(
        tmp_path,
        record(speed__noisy=True),
        record("nano", status="stopped", metrics__step=40),
        record("micro", config__train_steps=900),
        spikes=(30,),
    )
    text = "\n".join(found)
    assert "run1 is stopped at step 40 of 600" in text
    assert "run0: speed is noisy" in text
    assert "run2: 1 loss spike, at step 30" in text
    assert "run length (train_steps): 600, 900" in text
