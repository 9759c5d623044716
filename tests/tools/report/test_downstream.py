"""Tests that downstream scores are read, and averaged as the benchmarks do."""

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
    probes = {"acceptability": (60.0, 3.0), "cloze": (64.0, 1.0)}
    tune(pico, {**probes, "same_document": (50.0, 2.0)})
    tune(nano, {**probes, "same_document": (52.0, 2.0)}, "a")
    other = {"acceptability": (66.0, 3.0), "cloze": (60.0, 1.0)}
    tune(nano, {**other, "same_document": (54.0, 2.0)}, "b", seed=1)
    tune(nano, {**probes, "same_document": (1.0, 2.0)}, "early", step=300)
    tune(nano, {**probes, "same_document": (2.0, 2.0)}, "scratch", step=None)
    tune(nano, {"cloze": (99.0, 3.0)}, "stopped", status="stopped")
    return folder


def read(study):
    return downstream.read(records.load_runs(study))


def test_the_last_checkpoint_counts_and_seeds_are_averaged(study):
    scores = read(study)
    assert {score.finetuning for score in scores} == {
        *("study", "a", "b", "early", "scratch")
    }
    final = downstream.final(scores)
    assert downstream.shared_averages(final) == ["probes"]
    found = downstream.of_run(final, "transformer-nano-s0", "probes")
    # Of each task, the mean over two seeds of the fine-tuning.
    assert found.score == pytest.approx((63 + 62 + 53) / 3)
    # The seeds share the items, and the tasks do not.
    assert found.sampling_error == pytest.approx(math.sqrt(9 + 1 + 4) / 3)
    assert found.tasks == ("acceptability", "cloze", "same_document")
    assert downstream.of_run(final, "transformer-pico-s0", "probes").score == 58.0


@pytest.mark.usefixtures("without_figures")
def test_rates_and_mixtures_are_no_seeds(study):
    nano = study / "runs" / "transformer-nano-s0"
    tasks = {"acceptability": (9.0, 1.0), "cloze": (9.0, 1.0)}
    tasks["same_document"] = (9.0, 1.0)
    synthetic_study.write_finetuning(nano, tasks, "rate", learning_rate=0.02)
    scores = downstream.final(read(study))
    sizes = sorted(len(group) for group in downstream.groups(scores))
    assert sizes == [1] * 6 + [2] * 3
    assert downstream.shared_averages(scores) == ["probes"]
    # Which of the two rates counts is not for the report to choose.
    assert downstream.of_run(scores, "transformer-nano-s0", "probes") is None
    rows = {row["run"]: row for row in build.build(study).rows}
    assert rows["transformer-nano-s0"]["downstream_score"] is None
    assert rows["transformer-pico-s0"]["downstream_score"] == 58.0


_OTHER = {"data": {"mixture": "rte=2"}, "schedule": {"learning_rate": 0.01}}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"seed": 7}, True),
        ({"learning_rate": 0.02}, False),
        # Rates of the mixture, and the mixture.
        ({"data": {"tasks": {"rte": {"rate": 2.0}}}}, False),
        ({"config": _OTHER}, False),
    ],
)
def test_settings_are_all_but_the_seeds(tmp_path, change, same):
    run = synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    for name, changes in (("one", {}), ("other", change)):
        synthetic_study.write_finetuning(run, {"rte": (1.0, 1.0)}, name, **changes)
    one, other = read(tmp_path)
    assert (one.settings == other.settings) == same


@pytest.mark.usefixtures("without_figures")
def test_an_average_needs_the_same_tasks_of_all(study):
    micro = study / "runs" / "transformer-micro-s0"
    synthetic_study.write_finetuning(micro, {"cloze": (60.0, 3.0)})
    assert downstream.shared_averages(downstream.final(read(study))) == []
    rows = build.build(study).rows
    assert {row["downstream_score"] for row in rows} == {None}
    assert downstream.shared_averages([]) == []


def test_a_single_task_of_all_is_its_own_average(tmp_path):
    for size in ("pico", "nano"):
        run = tmp_path / f"transformer-{size}-s0"
        synthetic_study.write_run(run, synthetic_study.record(size))
        synthetic_study.write_finetuning(run, {"rte": (60.0, 3.0)})
    final = downstream.final(read(tmp_path))
    assert downstream.shared_averages(final) == ["rte"]
    found = downstream.of_run(final, "transformer-pico-s0", "rte")
    assert found == downstream.RunAverage("rte", 60.0, 3.0, ("rte",))


def test_other_finetunings_of_some_runs_change_no_average(study):
    nano = study / "runs" / "transformer-nano-s0"
    synthetic_study.write_finetuning(nano, {"rte": (70.0, 1.0)}, "more")
    final = downstream.final(read(study))
    assert downstream.shared_averages(final) == ["probes"]
    found = downstream.of_run(final, "transformer-nano-s0", "probes")
    assert found.score == pytest.approx((63 + 62 + 53) / 3)
    # A run without the first fine-tuning has no average in common with the others.
    micro = study / "runs" / "transformer-micro-s0"
    synthetic_study.write_finetuning(micro, {"rte": (60.0, 3.0)}, "more")
    assert downstream.shared_averages(downstream.final(read(study))) == []


def test_the_report_shows_them_and_no_fit_knows_them(study, tmp_path):
    without = synthetic_study.write_study(tmp_path / "without")
    report, plain = build.build(study), build.build(without)
    assert [fit.line for fit in report.fits] == [fit.line for fit in plain.fits]
    rows = {row["run"]: row for row in report.rows}
    assert rows["transformer-pico-s0"]["downstream_score"] == 58.0
    assert rows["transformer-pico-s0"]["downstream_average"] == "probes"
    assert rows["transformer-micro-s0"]["downstream_score"] is None
    with open(study / "downstream.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 15
    # Sorted by cost, as in the other tables.
    runs = list(dict.fromkeys(line["run"] for line in lines))
    assert runs == ["transformer-pico-s0", "transformer-nano-s0"]
    assert tuple(lines[0]) == downstream.COLUMNS and "items" not in lines[0]
    scratch = [line for line in lines if line["finetuning"] == "scratch"]
    assert [line["pretraining_step"] for line in scratch] == [""] * 3
    page = report.page.read_text(encoding="utf-8")
    assert "60.0 (54.0, 66.0)" in page and ">99.0" not in page
    for name in ("score-cloze", "by-step-cloze", "score-probes"):
        assert (study / "figures" / f"{name}.svg").is_file()
    assert not (without / "downstream.csv").exists()
    assert not (without / "figures" / "score-cloze.svg").exists()
    assert "No run was fine-tuned" in plain.page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_figures")
def test_a_report_of_one_run_leaves_its_fine_tunings_out_of_the_runs(study):
    report = build.build(study / "runs" / "transformer-nano-s0")
    assert [row["run"] for row in report.rows] == ["run"]
    assert report.rows[0]["downstream_score"] == pytest.approx((63 + 62 + 53) / 3)
    with pytest.raises(records.RecordError, match="only fine-tunings"):
        build.build(study / "runs" / "transformer-nano-s0" / "finetune")
