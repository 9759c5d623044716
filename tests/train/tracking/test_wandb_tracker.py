"""Tests what W&B gets, with a stand-in for the documented calls."""

import importlib

import pytest

from clinometer.tests.train.tracking import fakes


@pytest.fixture
def wandb(monkeypatch):
    module = fakes.wandb()
    fakes.install(monkeypatch, module, "wandb_tracker")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def start(run):
    module = importlib.import_module("clinometer.train.tracking.wandb_tracker")
    return module.WeightsAndBiases(run)


def test_a_run(wandb, tmp_path):
    tracker = start(fakes.tracked(tmp_path / "mine", log={"every_steps": 5}))
    tracker.scalars(5, {"train/loss": 2.0})
    tracker.scalars(5, {"validation/loss": 3.0})
    tracker.sync()
    tracker.finish("finished")
    (run,) = wandb.server.values()
    assert run.history == {5: {"train/loss": 2.0, "validation/loss": 3.0}}
    assert run.given["config"] == {
        "kind": "pretraining",
        "log": {"every_steps": 5},
        "git_revision": "abc123",
    }
    assert (run.given["name"], run.given["project"]) == ("mine", "clinometer")
    assert (run.summary, run.exit_code) == ({"status": "finished"}, 0)


def test_a_resumed_run_goes_on_in_the_same_one(wandb, tmp_path):
    """The process was killed at step 7 and resumes from the checkpoint at step 5."""
    tracker = start(fakes.tracked(tmp_path / "run"))
    for step in range(1, 8):
        tracker.scalars(step, {"x": float(step)})
    tracker = start(fakes.tracked(tmp_path / "run", start_step=5))
    for step in range(6, 10):
        tracker.scalars(step, {"x": float(step)})
    tracker.finish("failed")
    (run,) = wandb.server.values()
    assert run.history == {step: {"x": float(step)} for step in range(1, 10)}
    assert run.dropped == []
    assert run.exit_code == 1
    start(fakes.tracked(tmp_path / "other"))
    assert len(wandb.server) == 2


def test_its_own_variables_have_precedence(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "other")
    start(fakes.tracked(tmp_path / "run"))
    (run,) = wandb.server.values()
    assert run.given["project"] == "other"
