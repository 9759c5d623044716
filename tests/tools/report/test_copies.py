"""Tests that a run in two folders counts once, and that replicates count as such."""

import shutil

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import copies
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import study_fit


def _rows(folder):
    return [rows_lib.make_row(run) for run in records.load_runs(folder)]


def test_a_copied_folder_is_no_other_seed(tmp_path):
    record = synthetic_study.record
    one = synthetic_study.write_run(tmp_path / "a", record())
    synthetic_study.write_run(tmp_path / "b", record("nano"))
    shutil.copytree(one, tmp_path / "z")
    rows = copies.mark(_rows(tmp_path))
    assert {row["run"]: row["copy_of"] for row in rows} == {
        "a": None,
        "b": None,
        "z": "a",
    }
    assert [row["run"] for row in selection.usable(rows)] == ["a", "b"]
    assert "no replicates" in study_fit.of_rows(rows).reason
    report = build.build(tmp_path, tmp_path / "report")
    assert all(fit.left_out["z"].startswith("a copy of a (") for fit in report.fits)
    text = report.page.read_text()
    assert "z is a copy of a (same configuration, seed and order of the data" in text
    assert "seeds of" not in text and "differ by 0.0000" not in text
    (line,) = (x for x in report.table.read_text().splitlines() if x.startswith("z,"))
    assert ",600,a," in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"started_at": "2026-02-01T00:00:00Z"}, "same losses)"),
        (
            {"started_at": "2026-02-01T00:00:00Z", "metrics__train/loss": 4.5},
            "other losses, as on another machine)",
        ),
    ],
)
def test_the_same_run_once_more_is_no_replicate(tmp_path, changes, words):
    record = synthetic_study.record
    synthetic_study.write_run(tmp_path / "z", record())
    synthetic_study.write_run(tmp_path / "again", record(**changes))
    again, first = copies.mark(_rows(tmp_path))
    assert (again["copy_of"], first["copy_of"]) == ("z", None)  # It began first.
    assert words in copies.describe(again, first)
    assert "z once more" in copies.describe(again, first)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"config__data": {"order": 1}},
        {"config__schedule": {"learning_rate": 0.03}},
        {"config__train_steps": 900},
        {"status": "failed"},
    ],
)
def test_other_runs_are_kept(tmp_path, changes):
    record = synthetic_study.record
    synthetic_study.write_run(tmp_path / "a", record(config__data={"order": 0}))
    other = record(**{"config__data": {"order": 0}, **changes})
    synthetic_study.write_run(tmp_path / "b", other)
    assert [row["copy_of"] for row in copies.mark(_rows(tmp_path))] == [None, None]
