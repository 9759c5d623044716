"""Tests of whole tiny runs with trackers: what they get, and how they end."""

import pytest

from clinometer.tests.train import whole_runs
from clinometer.tests.train.tracking import fakes
from clinometer.train import main
from clinometer.train.run import checkpoints
from clinometer.train.tracking import choice


@pytest.fixture
def trackers(monkeypatch):
    """Makes the trackers `memory` and `broken`; returns those that were made."""
    monkeypatch.setattr(fakes.Memory, "made", [])
    kinds = {
        name: choice._Kind(fakes.__name__, kind.__name__, "json", "json")
        for name, kind in (("memory", fakes.Memory), ("broken", fakes.Broken))
    }
    monkeypatch.setattr(choice, "TRACKERS", kinds)
    return fakes.Memory.made


def losses(records):
    """Returns (step, loss) of the records of a log, or of what a tracker got."""
    names = ("train/loss", "validation/loss")
    return [(s, v[name]) for s, v in records for name in names if name in v]


def test_one_that_fails_and_one_that_goes_on(
    arguments, tmp_path, trackers, caplog, monkeypatch
):
    workdir = tmp_path / "run"
    command = [*arguments("log.trackers=broken,memory"), f"--workdir={workdir}"]
    assert main.main([*command, "--config.train_steps=4"]) == 0
    assert main.main(command) == 0
    warned = [r.getMessage() for r in caplog.records if "tracker" in r.getMessage()]
    assert len(warned) == 2 and all("OSError: no network" in text for text in warned)
    first, second = (each for each in trackers if type(each) is fakes.Memory)
    assert (first.run.start_step, second.run.start_step) == (0, 4)
    assert first.run.config["model"]["name"] == "transformer-pico"
    assert "sync" in first.calls
    assert (first.calls[-1], second.calls[-1]) == ("finished", "finished")
    got = [c for c in first.calls + second.calls if isinstance(c, tuple)]
    logged = [(record["step"], record) for record in whole_runs.log(workdir)]
    assert losses(got) == losses(logged) and len(logged) >= 5

    # A run that an error ends.
    def full(*unused, **also_unused):
        raise OSError("no space")

    monkeypatch.setattr(checkpoints.Checkpoints, "save", full)
    with pytest.raises(OSError, match="no space"):
        main.main([*command, "--config.train_steps=12"])
    assert trackers[-1].calls[-1] == "failed"
