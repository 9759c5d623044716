"""Tests that downstream scores are read, averaged with their errors, and shown."""

import csv
import math

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import downstream
from clinometer.tools.report import records


@pytest.fixture
def study(tmp_path):
    """Writes a study with two fine-tuned runs, one of them in several ways."""
    folder = synthetic_study.write_study(tmp_path / "study")
    pico = folder / "runs" / "transformer-pico-s0"
    nano = folder / "runs" / "transformer-nano-s0"
    tune = synthetic_study.write_finetuning
    tune(pico, {"rte": (60.0, 3.0), "boolq": (64.0, 1.0)})
    tune(nano, {"rte": (62.0, 3.0), "boolq": (70.0, 1.0)}, "a")
    tune(nano, {"rte": (66.0, 3.0), "boolq": (60.0, 1.0)}, "b", seed=1)
    tune(nano, {"rte": (55.0, 3.0), "boolq": (62.0, 1.0)}, "early", step=300)
    tune(nano, {"rte": (52.0, 3.0), "boolq": (61.0, 1.0)}, "scratch", step=None)
    tune(nano, {"rte": (99.0, 3.0)}, "stopped", status="stopped")
    return folder


def test_the_last_checkpoint_counts_and_errors_are_those_of_the_mean(study):
    scores = downstream.read(records.load_runs(study))
    assert {score.finetuning for score in scores} == {
        "study",
        "a",
        "b",
        "early",
        "scratch",
    }
    found = downstream.by_task(scores, "transformer-nano-s0")
    # The seeds of rte have an error of 2.8 / sqrt(2) = 2, below the examples' 3; those
    # of boolq have 7.07 / sqrt(2) = 5, above 1.
    assert found["rte"] == downstream.Mean(64.0, 3.0)
    assert found["boolq"].score == 65.0
    assert found["boolq"].standard_error == pytest.approx(5.0)
    mean = downstream.over_tasks(found)
    assert mean.score == 64.5
    assert mean.standard_error == pytest.approx(math.sqrt(3**2 + 5**2) / 2)
    assert downstream.by_task(scores, "transformer-milli-s0") == {}
    assert downstream.over_tasks({}) is None


def test_the_report_shows_them_and_no_fit_knows_them(study, tmp_path):
    without = synthetic_study.write_study(tmp_path / "without")
    report, plain = build.build(study), build.build(without)
    assert [fit.line for fit in report.fits] == [fit.line for fit in plain.fits]
    rows = {row["run"]: row for row in report.rows}
    assert rows["transformer-pico-s0"]["downstream_score"] == 62.0
    assert rows["transformer-pico-s0"]["downstream_tasks"] == "boolq rte"
    assert rows["transformer-micro-s0"]["downstream_score"] is None
    with open(study / "downstream.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10
    # Sorted by cost, as in the other tables.
    runs = list(dict.fromkeys(line["run"] for line in lines))
    assert runs == ["transformer-pico-s0", "transformer-nano-s0"]
    assert tuple(lines[0]) == downstream.COLUMNS
    scratch = [line for line in lines if line["finetuning"] == "scratch"]
    assert [line["pretraining_step"] for line in scratch] == ["", ""]
    page = report.page.read_text(encoding="utf-8")
    assert "62.0 ± 1.6" in page  # of pico: sqrt(9 + 1) / 2
    assert "55.0 ± 3.0" in page and "99.0 ±" not in page
    for name in ("downstream", "downstream_by_step"):
        text = (study / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert "boolq" in text and "rte" in text
    assert not (without / "downstream.csv").exists()
    assert not (without / "figures" / "downstream.svg").exists()
    assert "No run was fine-tuned" in plain.page.read_text(encoding="utf-8")


def test_a_report_of_one_run_leaves_its_fine_tunings_out_of_the_runs(study):
    report = build.build(study / "runs" / "transformer-nano-s0")
    assert [row["run"] for row in report.rows] == ["run"]
    assert report.rows[0]["downstream_score"] == 64.5
    with pytest.raises(records.RecordError, match="only fine-tunings"):
        build.build(study / "runs" / "transformer-nano-s0" / "finetune")
