"""Tests of the parts of run directories, and of finding them."""

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.train import errors
from clinometer.train.run import directory as run_directory


def test_directories_are_found_by_depth(tmp_path):
    for name in ("", "a", "runs/b", "runs/b/finetune/c"):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("{}")
    (tmp_path / "empty").mkdir()

    def found(depth=None):
        runs = run_directory.find(tmp_path, depth)
        return [run.path.relative_to(tmp_path).as_posix() for run in runs]

    assert found(0) == ["."]
    assert found(1) == ["a", "."]  # Sorted by the paths of their records.
    assert found(2) == ["a", ".", "runs/b"]
    assert found() == ["a", ".", "runs/b/finetune/c", "runs/b"]


def test_a_folder_without_a_record_is_no_run(tmp_path):
    directory = run_directory.RunDirectory(tmp_path)
    assert not directory.has_record
    with pytest.raises(errors.RunError, match="is not a run directory: it has no run"):
        directory.record()
    assert directory.metrics.read() == directory.metrics.read_end() == []


def test_what_is_needed_is_named_with_its_file(tmp_path):
    synthetic_study.write_run(tmp_path / "run", synthetic_study.record())
    directory = run_directory.RunDirectory(tmp_path / "run")
    assert directory.record("data.store").data.store == "somewhere/store"
    with pytest.raises(errors.RunError, match="run.json: has no field 'data.tasks'"):
        directory.record("data.store", "data.tasks")


def test_predictions_of_other_steps_go(tmp_path):
    predictions = run_directory.RunDirectory(tmp_path).predictions
    for name in ("4", "8", "12", "8 copy", "notes"):
        (predictions.path / name).mkdir(parents=True)
    predictions.keep([8])
    left = {path.name for path in predictions.path.iterdir()}
    assert left == {"8", "8 copy", "notes"}
    assert predictions.of_step(8).is_dir()
