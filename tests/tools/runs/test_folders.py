"""Tests where runs are found."""

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.runs import folders


def _names(root):
    return [run.relative_to(root).as_posix() for run in folders.find(root)]


def test_runs_of_studies_sweeps_and_parts_with_their_fine_tunings(tmp_path):
    record = synthetic_study.record()
    for place in ("runs/a", "sweep/runs/b", "parts/p/runs/c"):
        synthetic_study.write_run(tmp_path / place, record)
    synthetic_study.write_finetuning(tmp_path / "runs/a", {"rte": (50.0, 1.0)})
    # A run that has not written a record yet, and folders that are no runs.
    (tmp_path / "runs/d/lease").mkdir(parents=True)
    (tmp_path / "runs/e/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/a/checkpoints/9/lease").mkdir(parents=True)
    assert _names(tmp_path) == [
        "parts/p/runs/c",
        "runs/a",
        "runs/a/finetune/study",
        "runs/d",
        "sweep/runs/b",
    ]
    assert _names(tmp_path / "runs" / "a") == [".", "finetune/study"]


def test_names_in_a_folder(tmp_path):
    run = tmp_path / "runs" / "a"
    assert folders.name(run, tmp_path) == "a"
    assert folders.name(run, run) == "a"
    assert folders.name(tmp_path / "sweep/runs/b", tmp_path) == "sweep/runs/b"


def test_no_folder(tmp_path):
    with pytest.raises(OptionError, match="No such file"):
        folders.find(tmp_path / "nowhere")
