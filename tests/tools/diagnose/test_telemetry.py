"""Tests of what is read of a run directory."""

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry
from clinometer.train import errors


def test_what_is_not_recorded_is_said(tmp_path):
    run = telemetry.read(written.write(tmp_path / "none", None))
    with pytest.raises(finding.NotCheckedError, match="has no metrics.jsonl"):
        run.needed("train/loss")
    with pytest.raises(finding.NotCheckedError, match="has no metrics.jsonl"):
        run.health()
    run = telemetry.read(written.write(tmp_path / "other", written.healthy()))
    with pytest.raises(finding.NotCheckedError, match="the log has no train/x"):
        run.needed("train/x")
    assert run.health(end="/x") == {}
    assert [len(run.series(n)) for n in ("train/loss", "validation/loss")] == [50, 10]


def test_the_log_is_ahead_of_the_record(tmp_path):
    path = written.write(tmp_path / "run", written.healthy(500), status="stopped")
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"step": 520, "train/loss": 4.0}\n{"step": 5')
    run = telemetry.read(path)
    assert (run.status, run.step, run.over) == ("stopped", 520, True)


def test_a_process_that_is_gone(tmp_path):
    path = written.write(tmp_path / "run", written.healthy(500), status="running")
    assert telemetry.read(path).status == "lost"


def test_a_damaged_log_is_named(tmp_path):
    path = written.write(tmp_path / "run", written.healthy(100))
    (path / "metrics.jsonl").write_text('{"step": "x"}\n{"step": 2}\n')
    with pytest.raises(errors.RunError, match=r"metrics\.jsonl:1: "):
        telemetry.read(path)
