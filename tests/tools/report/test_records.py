"""Tests that run directories are found and that bad ones are named."""

import json

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import records


@pytest.mark.parametrize("below, name", [("runs/a", "a"), ("a", "a"), (".", "run")])
def test_finds_runs(tmp_path, below, name):
    study = tmp_path / "study"
    synthetic_study.write_run(study / below, synthetic_study.record())
    (run,) = records.load_runs(study)
    assert run.name == name
    assert run.record.finished
    assert run.record.metrics.validation_loss < 5
    assert run.record.initial is None  # A field that the record lacks.
    assert run.metrics()[-1]["step"] == 600


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a JSON object"),
        ('{"format_version": 2}', "format_version is 2"),
        ('{"format_version": 1, "model": "m", "seed": 0}', "no field 'status'"),
        (
            '{"format_version": 1, "model": "m", "seed": 0, "status": "odd"}',
            "accepted: running, finished",
        ),
    ],
)
def test_bad_records_are_named(tmp_path, text, words):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(records.RecordError, match=words) as caught:
        records.load_runs(tmp_path)
    assert "run.json" in str(caught.value)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(records.RecordError, match="no such folder"):
        records.load_runs(tmp_path / "nowhere")
    with pytest.raises(records.RecordError, match="no run found"):
        records.load_runs(tmp_path)


def test_only_a_last_line_may_be_broken(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    (run,) = records.load_runs(tmp_path)
    path = tmp_path / "a" / "metrics.jsonl"
    whole = json.dumps({"step": 1})
    path.write_text(whole + '\n{"st')
    assert run.metrics() == [{"step": 1}]
    path.write_text('{"st\n' + whole + "\n")
    with pytest.raises(records.RecordError, match="metrics.jsonl:1"):
        run.metrics()


def test_runs_without_a_record_are_found(tmp_path):
    synthetic_study.write_run(tmp_path / "runs" / "a", synthetic_study.record())
    for folder in ("killed/lease", "a/finetune/x", "empty"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
    (tmp_path / "report" / "figures").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "log.txt").write_text("")
    (tmp_path / "runs" / "a" / "finetune" / "x" / "log.txt").write_text("")
    assert records.lost_runs(tmp_path) == ["killed"]
    assert records.lost_runs(tmp_path / "runs") == ["killed"]
    assert records.lost_runs(tmp_path / "runs" / "a") == []
