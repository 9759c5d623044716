"""Run directories are found wherever they may lie, and bad ones named."""

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
    assert run.finished
    assert run.get("metrics.validation/loss") < 5
    assert run.get("speed.nothing.here", 7) == 7
    assert run.metrics()[-1]["step"] == 600


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "cannot be read as JSON"),
        ("[]", "no JSON object"),
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
    with pytest.raises(records.RecordError, match="no run in it"):
        records.load_runs(tmp_path)


def test_only_a_last_line_may_be_broken(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = json.dumps({"step": 1})
    path.write_text(whole + '\n{"st')
    assert list(records.read_metrics(path)) == [{"step": 1}]
    path.write_text('{"st\n' + whole + "\n")
    with pytest.raises(records.RecordError, match="metrics.jsonl:1"):
        list(records.read_metrics(path))
