"""Tests how the runs of a study end: finished, failed, diverged, or out of time."""

import sys
import time

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.study import carrying
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import phases


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "costs", lambda o, work: {w.name: 1.0 for w in work})
    return options_lib.parse(["--out", str(tmp_path), "--jobs", "1"])


def _work(tmp_path, name, code):
    """Returns a command that runs Python code in the place of a training."""
    folder = tmp_path / "runs" / name
    return phases.RunCommand(name, folder, ("-S", "-c", code), "transformer-pico")


def _diverged(folder):
    error = "DivergedError: step 3: the loss is nan"
    record = synthetic_study.record(status="failed", error=error)
    return synthetic_study.write_run(folder, record)


def test_only_records_say_that_a_run_diverged(tmp_path):
    assert carrying.has_diverged(_diverged(tmp_path / "a"))
    failed = synthetic_study.record(status="failed", error="RunError: disk")
    assert not carrying.has_diverged(synthetic_study.write_run(tmp_path / "b", failed))
    assert not carrying.has_diverged(tmp_path / "nowhere")


def test_a_diverged_run_is_said_and_does_not_stop_the_others(options, tmp_path, capfd):
    options.keep_going = False
    work = [_work(tmp_path, name, "raise SystemExit(1)") for name in ("a", "b")]
    for one in work:
        _diverged(one.folder)
    state = carrying.carry_out(options, work, 10, lock=sys.stdout.fileno())
    assert state.exit_codes == {"a": 1, "b": 1}
    assert capfd.readouterr().out.count("DIVERGED") == 2


def test_a_failed_run_is_said_with_its_last_lines(options, tmp_path, capfd):
    work = [_work(tmp_path, "a", "raise SystemExit('out of luck')")]
    state = carrying.carry_out(options, work, 10, lock=sys.stdout.fileno())
    assert state.exit_codes == {"a": 1}
    said = capfd.readouterr().out
    assert "FAILED (exit code 1)" in said and "out of luck" in said


def test_a_stopped_run_is_started_again(options, tmp_path, capfd):
    code = (
        "import pathlib, sys; again = pathlib.Path('again'); there = again.exists();"
        "again.touch(); sys.exit(1 if there else 42)"
    ).replace("'again'", repr(str(tmp_path / "again")))
    work = [_work(tmp_path, "a", code)]
    state = carrying.carry_out(options, work, 10, lock=sys.stdout.fileno())
    assert state.exit_codes == {"a": 1}
    said = capfd.readouterr().out
    assert "a: stopped and saved; it will be started again" in said
    assert "FAILED (exit code 1)" in said and "without progress" not in said


def test_a_run_that_never_saves_is_tried_three_times(options, tmp_path, capfd):
    code = "import os, signal; print('try', flush=True); os.kill(os.getpid(), 9)"
    work = [_work(tmp_path, "a", code), _work(tmp_path, "b", "")]
    state = carrying.carry_out(options, work[:1], 10, lock=sys.stdout.fileno())
    assert state.exit_codes == {"a": -9}
    assert (work[0].folder / "log.txt").read_text().split() == ["try"] * 3
    said = capfd.readouterr().out
    assert said.count("signal 9; it will be started again") == 2
    assert "FAILED (signal 9, 3 tries without progress)" in said


def test_a_request_to_stop_that_nobody_saw_is_withdrawn(options, tmp_path):
    stop = str(tmp_path / "runs" / "a" / "stop")
    code = f"import os, sys; sys.exit(1 + os.path.exists({stop!r}))"
    work = [_work(tmp_path, "a", code)]
    work[0].folder.mkdir(parents=True)
    (work[0].folder / "stop").touch()
    state = carrying.carry_out(options, work, 10, lock=sys.stdout.fileno())
    assert state.exit_codes == {"a": 1}
    assert not (work[0].folder / "stop").exists()


def test_after_the_deadline_nothing_is_started(options, tmp_path):
    work = [_work(tmp_path, "a", "")]
    state = carrying.carry_out(
        options, work, 10, lock=sys.stdout.fileno(), deadline=time.monotonic() - 1
    )
    assert state.over_time and state.exit_codes == {}
