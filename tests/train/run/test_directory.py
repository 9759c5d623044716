"""Tests of the parts of run directories, and of finding them."""

import dataclasses

import numpy as np
import pytest

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.kernels.options.errors import OptionError
from clinometer.tests.tools.report import synthetic_study
from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.run import validation_rows


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


URL = "s3://bucket/runs/a"


def test_a_run_in_an_object_store(objects, caplog):
    directory = run_directory.RunDirectory(URL)
    run_directory.check("--workdir", URL)
    assert not directory.has_record and directory.record_or_none() is None
    record = run_record.from_json(synthetic_study.record())
    directory.write_record(record)
    written = directory.record("data.store")
    record = dataclasses.replace(record, updated_at=written.updated_at)
    assert written.to_json() == record.to_json()
    assert [run.path for run in run_directory.find("s3://bucket")] == [directory.path]
    rows = validation_rows.ValidationRows(
        3, np.arange(2, dtype=np.uint64), np.ones(2), np.array([1, 2])
    )
    assert directory.validation_rows() is None
    directory.write_validation_rows(rows)
    np.testing.assert_array_equal(directory.validation_rows().targets, [1, 2])
    for step in (4, 8):
        paths.write_text(directory.predictions.of_step(step) / "a.jsonl", "{}")
    directory.predictions.keep([8])
    assert paths.names(directory.predictions.path) == ["8"]
    # A damaged record is moved, as on a disk.
    paths.write_bytes(f"{URL}/run.json", b"{")
    assert directory.record_or_none() is None
    assert "renamed to run.json.corrupt" in caplog.text
    assert paths.read_bytes(f"{URL}/run.json.corrupt") == b"{"
    assert not directory.has_record


def test_the_log_of_a_run_in_an_object_store_is_continued(objects, caplog):
    directory = run_directory.RunDirectory(URL)
    log = directory.metrics.append_after(0)
    for step in (1, 2, 3):
        log.write(step, {"train/loss": 1.0 / step})
    log.sync()
    log.write(4, {"train/loss": 0.1})
    # The process is killed: `close` is not called, so the last record is lost.
    assert [line["step"] for line in directory.metrics.read()] == [1, 2, 3]
    content = paths.read_bytes(directory.metrics.path)
    paths.write_bytes(directory.metrics.path, content + b"garbage\n")
    log = directory.metrics.append_after(2)
    assert paths.read_bytes(f"{URL}/metrics.jsonl.corrupt") == b"garbage\n"
    log.write(3, {"train/loss": 0.5})
    log.close()
    assert directory.metrics.read() == directory.metrics.read_end()
    assert [(r["step"], r["train/loss"]) for r in directory.metrics.read()] == [
        (1, 1.0),
        (2, 0.5),
        (3, 0.5),
    ]


def test_a_store_that_cannot_be_used_is_said_early(objects):
    paths.write_bytes("s3://bucket/file", b"")
    for url, said in (
        ("s3://bucket/file", "is an object, not a folder"),
        ("az://bucket/run", "[Ii]nstall adlfs"),
    ):
        with pytest.raises(OptionError, match=f"^--workdir: {url}.* {said}"):
            run_directory.check("--workdir", url)
    with pytest.raises(DataError, match="unknown scheme"):
        run_directory.check("--workdir", "ftp://a")
