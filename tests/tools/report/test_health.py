"""Tests the warnings about runs; a healthy study has none."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import health
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib


def _warnings(tmp_path, *contents, spikes=(), **options):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content, spikes)
    runs = records.load_runs(tmp_path)
    metrics = {run.name: run.metrics() for run in runs}
    rows = [rows_lib.make_row(run) for run in runs]
    return health.warnings(rows, metrics, **options)


def test_sound_runs_give_none(tmp_path):
    record = synthetic_study.record
    assert _warnings(tmp_path, record(), record("nano")) == []


def test_each_finding_is_told(tmp_path):
    record = synthetic_study.record
    found = _warnings(
        tmp_path,
        record(
            speed__noisy=True,
            speed__measured_matmul_flops_per_second_after=6e10,
        ),
        record("nano", status="stopped", metrics__step=40),
        record("micro", config__train_steps=900),
        spikes=(30,),
        lost=("run9",),
        mixed=("train_steps",),
    )
    text = "\n".join(found)
    assert "run1: stopped at step 40 of 600" in text
    assert "run0: speed is noisy" in text
    assert "run0: the rate of the reference benchmark changed by -25 %" in text
    assert "run2: 1 loss spike, at step 30" in text
    assert "run9 left no record" in text
    mixed = (
        "fits mix runs that differ in run length (train_steps). 600: run0; 900: run2"
    )
    assert mixed in text


def test_rates_that_are_not_tuned_for_these_runs_are_said(tmp_path):
    record = synthetic_study.record
    fixed = {"config__schedule": {"learning_rate": 0.006}}
    (found,) = _warnings(tmp_path / "fixed", record(**fixed), record("nano", **fixed))
    assert found.startswith("the learning rate is fixed at 0.006 for all models")
    for name, corpus, expected in (("same", "c0ffee", 0), ("other", "dead", 1)):
        tuned = {**fixed, "config__study": {"rate_table": "ab", "rate_corpus": corpus}}
        runs = record(**tuned), record("nano", **tuned)
        found = _warnings(tmp_path / name, *runs)
        assert len(found) == expected
        assert all(one.startswith("all 2 runs: the learning ") for one in found)


def test_losses_that_are_not_finite_are_counted(tmp_path):
    run = synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    # Earlier versions wrote NaN and infinity as Python does.
    lines = (run / "metrics.jsonl").read_text()
    extra = ("NaN", "Infinity", "1e999", "null")
    lines += "".join(
        f'{{"step": {700 + i}, "train/loss": {x}}}\n' for i, x in enumerate(extra)
    )
    (run / "metrics.jsonl").write_text(lines)
    record = synthetic_study.record(
        "nano", **{"metrics__validation/loss": float("nan")}
    )
    synthetic_study.write_run(tmp_path / "b", record)
    runs = records.load_runs(tmp_path)
    metrics = {run.name: run.metrics() for run in runs}
    found = health.warnings([rows_lib.make_row(run) for run in runs], metrics)
    assert found == [
        "b has no finite validation loss and is left out of all fits",
        "a: 4 losses that are not finite, at step 700, 701, 702, 703",
    ]


def test_runs_without_a_log_are_told_once(tmp_path):
    for size in ("pico", "nano", "micro"):
        run = synthetic_study.write_run(tmp_path / size, synthetic_study.record(size))
        if size != "pico":
            (run / "metrics.jsonl").unlink()
    (told,) = _warnings(tmp_path)
    assert told.startswith("2 of 3 finished runs have only a record, without a log")


def test_a_pilot_is_called_one(tmp_path):
    pilot = {"config__study": {"role": "pilot"}}
    record = synthetic_study.record
    (warning,) = _warnings(tmp_path / "pilot", record(**pilot), record("nano", **pilot))
    assert warning == "the runs are a pilot's: they choose a design and decide no claim"
    assert _warnings(tmp_path / "both", record(**pilot), record("nano")) == []
