"""Tests a try in a worker: what starts, what stops it, and what is recorded."""

import os
import signal
import threading
import time

import pytest

from clinometer.tests.tools.study.engines import trainer_stand_in
from clinometer.tools.study import executor
from clinometer.tools.study.engines import attempt
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries


@pytest.fixture
def task(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    arguments = ("-S", trainer_stand_in.__file__, str(run), "100000")
    return executor.Task("run", run, arguments, "s")


def _attempt(task, **changes):
    return attempt.Attempt(task, engine="ray", job="7", cpus=1, **changes)


def _after_some_steps(task, call):
    """Calls a function in a thread once the run trains."""

    def wait():
        end = time.monotonic() + 60
        while "begins" not in (task.log.read_text() if task.log.exists() else ""):
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.1)
        call()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_the_exit_code_and_where_it_ran(tmp_path, task):
    run = task.folder
    done = executor.Task("run", run, (*task.arguments[:-1], "3", "more"), "s")
    one = attempt.Attempt(done, engine="slurm", job="7_1", cpus=2, node="n")
    assert one.run({"PATH": os.environ["PATH"]}, ("most",)) == 0
    assert task.log.read_text() == "begins at 0 more most\n"
    (only,) = tries.read(run)
    assert (only.engine, only.job, only.node, only.pid, only.code) == (
        *("slurm", "7_1", "n"),
        os.getpid(),
        0,
    )


def test_a_stop_lets_the_run_save(task):
    one = _attempt(task)
    thread = _after_some_steps(task, one.stop)
    assert one.run(os.environ) == 42
    thread.join()
    assert "saves at" in task.log.read_text()
    assert tries.saved_step(task.folder) > 0
    one.stop()  # Does nothing more.


def test_a_signal_handler_may_wait_for_the_run(task):
    """As submitit's does, which interrupts the wait of the same thread."""
    one, codes = _attempt(task), []
    before = signal.signal(
        signal.SIGUSR2, lambda *unused: codes.append(one.stopped_code())
    )
    try:
        thread = _after_some_steps(task, lambda: os.kill(os.getpid(), signal.SIGUSR2))
        assert one.run(os.environ) == 42
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert codes == [42]
    (only,) = tries.read(task.folder)
    assert only.code == 42


def test_a_stop_file_that_is_there_starts_nothing(task):
    stop_files.write(task.folder)
    assert _attempt(task).run(os.environ) == 42
    assert not task.log.exists() and tries.read(task.folder) == []
    assert stop_files.is_there(task.folder)
    stop_files.remove(task.folder)
    stop_files.remove(task.folder)
    assert not stop_files.is_there(task.folder)


def test_a_stop_before_the_start_starts_nothing(task):
    one = _attempt(task)
    assert one.stopped_code() is None
    assert one.run(os.environ) == 42 and not task.log.exists()


def test_an_engine_that_starts_it_again_and_again_is_stopped(task):
    for _ in range(policy.TRIES):
        tries.begin(task, engine="ray", pid=1)
    assert _attempt(task).run(os.environ) == policy.WORKER_LOST
    assert not task.log.exists()


def test_one_of_several_workers_records_the_try(task):
    given = (*task.arguments[:-1], "1")
    short = executor.Task("run", task.folder, given, "s")
    assert _attempt(short, records=False).run(os.environ) == 0
    assert tries.read(task.folder) == []


def test_a_warning_of_slurm_to_all_processes_kills_no_run(task):
    one = _attempt(task)
    before = signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    try:

        def warn():
            os.kill(one._process.pid, signal.SIGUSR2)
            time.sleep(0.2)
            one.stop()

        thread = _after_some_steps(task, warn)
        assert one.run(os.environ) == 42
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
