"""Tests how far runs are, from directories in each state."""

import json
import os
import time

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.runs import overview
from clinometer.tools.study import executor
from clinometer.tools.study.engines import tries
from clinometer.train.run import lease


def _write(run, **changes):
    return synthetic_study.write_run(run, synthetic_study.record(**changes))


def _hold(run, *, silent=0.0, released=False):
    """Writes the lease of a process on a machine called `there`."""
    (run / lease.FOLDER).mkdir(parents=True, exist_ok=True)
    path = run / lease.FOLDER / "2.json"
    holder = {"owner": "x", "host": "there", "pid": 7, "released": released}
    path.write_text(json.dumps(holder))
    then = time.time() - silent
    os.utime(path, (then, then))
    (run / lease.FOLDER / "1.json").write_text("{}")


def _log(run, *lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)


def test_a_run_that_trains_says_its_speed_and_the_time_left(tmp_path):
    run = _write(tmp_path / "run", status="running")
    _hold(run)
    lines = (
        {"step": 10, "train/loss": 7.0, "wall/steps_per_second": 9.0},
        {"step": 20, "train/loss": 6.5, "wall/steps_per_second": 4.0},
        {"step": 20, "validation/loss": 6.25, "wall/seconds": 3.0},
    )
    _log(run, *lines)
    found = overview.of_run(run)
    assert (found.status, found.step, found.steps) == ("running", 20, 600)
    assert (found.loss, found.validation_loss) == (6.5, 6.25)
    assert found.steps_per_second == 4.0 and found.node == "there"
    assert found.seconds_left == (600 - 20) / 4.0


@pytest.mark.parametrize(
    ("lease_of", "status", "expected"),
    [
        ({}, "running", "running"),
        ({"silent": 61.0}, "running", "silent"),
        ({"released": True}, "running", "lost"),
        (None, "running", "lost"),
        ({}, "stopped", "starting"),
        ({"released": True}, "stopped", "stopped"),
        ({"silent": 61.0}, "stopped", "stopped"),
        (None, "failed", "failed"),
        ({"released": True}, "finished", "finished"),
    ],
)
def test_record_and_lease_together_give_the_status(
    tmp_path, lease_of, status, expected
):
    run = _write(tmp_path / "run", status=status)
    if lease_of is not None:
        _hold(run, **lease_of)
    found = overview.of_run(run)
    assert found.status == expected
    assert (found.node is None) == (expected not in ("running", "starting"))
    assert found.seconds_left is None or expected == "running"


def test_a_run_that_diverged_says_so(tmp_path):
    error = "DivergedError: step 3: the loss is nan"
    found = overview.of_run(_write(tmp_path / "run", status="failed", error=error))
    assert (found.status, found.error) == ("diverged", error)


def test_runs_without_a_record(tmp_path):
    assert overview.of_run(tmp_path / "nowhere").status == "waiting"
    task = executor.Task("run", tmp_path / "run", ())
    tries.begin(task, engine="ray", pid=3)
    found = overview.of_run(task.folder)
    assert (found.status, found.tries) == ("starting", 1)
    tries.end(task, 42)
    assert overview.of_run(task.folder).status == "waiting"
    tries.begin(task, engine="ray", pid=3)
    tries.end(task, 2)
    found = overview.of_run(task.folder)
    assert (found.status, found.tries) == ("failed", 2)


def test_a_damaged_record_is_said(tmp_path):
    run = _write(tmp_path / "run")
    (run / "run.json").write_text('{"model": 3}')
    found = overview.of_run(run)
    assert found.status == "unreadable" and str(run / "run.json") in found.error
    (run / "run.json").write_text("{")
    assert overview.of_run(run).status == "unreadable"
