"""Tests that a study's speeds are those of its part `speed`, where it has one."""

import csv

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import records
from clinometer.tools.report import speeds
from clinometer.tools.results import frame

# Steps per second of the part, whose runs have 50 steps.
_RATES = {"pico": 80.0, "nano": 60.0}


def _record(size, seed=0, **changes):
    changes = {"speed__noisy": True} | changes
    return synthetic_study.record(size, seed, **changes)


def _timed(size, **changes):
    rate = {"speed__steps_per_second_median": _RATES[size], "speed__noisy": False}
    return _record(size, config__train_steps=50, **rate, **changes)


@pytest.fixture(name="study")
def _study(tmp_path):
    for size in ("pico", "nano", "micro"):
        for seed in (0, 1):
            folder = tmp_path / "runs" / f"{size}-{seed}"
            synthetic_study.write_run(folder, _record(size, seed))
    return tmp_path


def _time(study, *contents):
    for one in contents:
        folder = study / speeds.FOLDER / "runs" / one["model"]
        synthetic_study.write_run(folder, one)


def _fit(report):
    (fit,) = (fit for fit in report.fits if fit.cost.column == "training_seconds")
    return fit


def test_the_part_gives_the_speeds_and_times(study):
    assert not _fit(build.build(study)).points  # All of the study's own are noisy.
    _time(study, _timed("pico"), _timed("nano"))
    report = build.build(study, study / "report")
    with report.table.open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    for size, rate in _RATES.items():
        for seed in (0, 1):
            row = rows[f"{size}-{seed}"]
            assert float(row["steps_per_second_median"]) == rate
            assert float(row["training_seconds"]) == pytest.approx(600 / rate)
            assert row["speed_run"] == f"parts/speed/transformer-{size}"
    # A model that was not timed apart has no speed, not one of a busy machine.
    assert rows["micro-0"]["steps_per_second_median"] == ""
    assert rows["micro-0"]["training_seconds"] == rows["micro-0"]["speed_run"] == ""
    points = [point.cost for point in _fit(report).points]
    assert points == pytest.approx([600 / 80, 600 / 60])
    text = report.page.read_text()
    assert "speeds and times are those of 2 short runs in parts/speed" in text
    assert "speed is noisy" not in text
    assert text.count("parts/speed/transformer-pico") == 1  # In the table of speeds.


def test_losses_and_counts_stay_those_of_the_study(study):
    before = {row["run"]: row for row in build.build(study).rows}
    _time(study, _timed("pico", **{"metrics__validation/loss": 9.0}), _timed("nano"))
    report = build.build(study)
    for row in report.rows:
        for column in ("validation_loss_nats", "train_steps", "training_flops"):
            assert row[column] == before[row["run"]][column]
        assert row["host_cpu"] == before[row["run"]]["host_cpu"]
    own = frame.read(study).set_index("run")
    assert own["steps_per_second_median"]["pico-1"] == 80.0
    assert (
        own["validation_loss_nats"]["pico-1"]
        == before["pico-1"]["validation_loss_nats"]
    )


def test_a_noisy_timing_enters_no_fit(study):
    _time(study, _timed("pico"), {**_timed("nano"), "speed": _record("nano")["speed"]})
    report = build.build(study)
    assert [point.size for point in _fit(report).points] == ["pico"]
    assert "parts/speed/transformer-nano: speed is noisy" in report.page.read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts__batch_size": 8}, r"differ in batch size \(batch_size\)"),
        ({"device__host_cpu": "Intel Xeon"}, r"differ in processor \(host_cpu\)"),
    ],
)
def test_other_conditions_are_refused(study, changes, words):
    _time(study, _timed("pico"), _timed("nano", **changes))
    with pytest.raises(records.RecordError, match=f"parts/speed: the runs {words}"):
        build.build(study)


def test_two_timings_of_a_model_are_refused(study):
    _time(study, _timed("pico"), _timed("nano"))
    again = study / speeds.FOLDER / "runs" / "again"
    synthetic_study.write_run(again, _timed("pico", seed=1))
    with pytest.raises(records.RecordError, match="several finished runs of trans"):
        build.build(study)


def test_an_unfinished_timing_is_no_timing(study):
    _time(study, _timed("pico"), _timed("nano", status="running"))
    rows = {row["run"]: row for row in build.build(study).rows}
    assert rows["pico-0"]["speed_run"] and rows["nano-0"]["speed_run"] is None
    assert rows["nano-0"]["steps_per_second_median"] is None
