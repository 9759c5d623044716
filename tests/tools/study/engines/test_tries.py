"""Tests how tries are recorded in a run directory, and when they made progress."""

import os
import socket

from clinometer.tools.study import executor
from clinometer.tools.study.engines import tries


def _task(tmp_path, submission="s"):
    return executor.Task("run", tmp_path / "run", (), submission)


def _save(task, step):
    (task.folder / "checkpoints" / str(step)).mkdir(parents=True)


def _try(task, code):
    tries.begin(task, engine="ray", pid=os.getpid(), job="7")
    if code is not None:
        tries.end(task, code)


def test_a_try_says_where_it_ran_and_how_it_ended(tmp_path):
    task = _task(tmp_path)
    assert tries.read(task.folder) == []
    tries.begin(task, engine="slurm", pid=17, job="3_1")
    assert tries.is_running(task.folder, "s")
    assert not tries.is_running(task.folder, "another")
    (only,) = tries.read(task.folder)
    assert (only.engine, only.pid, only.job) == ("slurm", 17, "3_1")
    assert only.node == socket.gethostname() and only.code is None
    tries.end(task, 42)
    assert not tries.is_running(task.folder, "s")
    (only,) = tries.read(task.folder)
    assert only.code == 42 and only.ended_at >= only.started_at


def test_tries_without_a_new_checkpoint_are_counted_from_the_last(tmp_path):
    task = _task(tmp_path)
    assert tries.without_progress(task.folder, "s") == 0
    _try(task, 42)
    _try(task, None)  # Lost with its worker.
    assert tries.without_progress(task.folder, "s") == 2
    _try(task, 43)  # Held: no try.
    assert tries.without_progress(task.folder, "s") == 2
    _save(task, 10)
    assert tries.without_progress(task.folder, "s") == 0
    _try(task, 44)
    assert tries.without_progress(task.folder, "s") == 1
    _save(task, 20)
    assert tries.without_progress(task.folder, "s") == 0
    _try(task, -9)
    _try(task, -9)
    _try(task, -9)
    assert tries.without_progress(task.folder, "s") == 3
    # The same command, given again, begins anew.
    assert tries.without_progress(task.folder, "t") == 0


def test_unfinished_checkpoints_and_broken_lines_are_no_progress(tmp_path):
    task = _task(tmp_path)
    _try(task, 42)
    (task.folder / "checkpoints" / "7.tmp").mkdir(parents=True)
    with open(task.folder / tries.FILE_NAME, "a") as file:
        file.write('{"code": "x\n[]\n{"unknown": 1}\n')
    _try(task, 42)
    assert tries.without_progress(task.folder, "s") == 2
    assert [one.code for one in tries.read(task.folder)] == [42, 42]
