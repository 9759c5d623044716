"""Tests what MLflow gets, with a stand-in for the documented calls."""

import importlib

import pytest

from clinometer.tests.train.tracking import fakes


@pytest.fixture
def mlflow(monkeypatch):
    module = fakes.mlflow()
    fakes.install(monkeypatch, module, "mlflow_tracker")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return module


def start(run):
    module = importlib.import_module("clinometer.train.tracking.mlflow_tracker")
    return module.MLflow(run)


def test_a_run(mlflow, tmp_path):
    many = {f"field{i}": i for i in range(150)}
    tracker = start(fakes.tracked(tmp_path / "mine", model=many))
    tracker.scalars(5, {f"m{i}": float(i) for i in range(1500)})
    tracker.sync()
    tracker.finish("finished")
    (run,) = mlflow.server.values()
    assert {m.key: (m.step, m.value) for m in run.metrics} == {
        f"m{i}": (5, i) for i in range(1500)
    }
    assert run.params == {
        "kind": "pretraining",
        **{f"model.field{i}": str(i) for i in range(150)},
    }
    assert run.tags == {"mlflow.source.git.commit": "abc123"}
    assert (run.name, run.status) == ("mine", "FINISHED")
    assert list(mlflow.experiments) == ["clinometer"]


def test_a_resumed_run_goes_on_in_the_same_one(mlflow, tmp_path):
    """The process was killed at step 7 and resumes from the checkpoint at step 5."""
    tracker = start(fakes.tracked(tmp_path / "run", log=1))
    for step in range(1, 8):
        tracker.scalars(step, {"x": float(step)})
    # A field that may change on resuming, where a parameter of MLflow cannot.
    tracker = start(fakes.tracked(tmp_path / "run", start_step=5, log=2))
    (run,) = mlflow.server.values()
    assert run.status == "RUNNING"
    for step in range(6, 10):
        tracker.scalars(step, {"x": float(step), "new": 0.0})
    tracker.finish("stopped")
    found = [(m.step, m.value) for m in run.metrics if m.key == "x"]
    assert found == [(step, float(step)) for step in range(1, 10)]
    assert [m.step for m in run.metrics if m.key == "new"] == [6, 7, 8, 9]
    assert run.status == "KILLED"
    start(fakes.tracked(tmp_path / "other"))
    assert (len(mlflow.server), len(mlflow.experiments)) == (2, 1)
