"""Tests the local executor with real processes: cores, logs, signals, dead parents."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import uuid

import pytest

from clinometer.tools.study import cores
from clinometer.tools.study import executor
from clinometer.tools.study.engines import environment
from clinometer.tools.study.engines import local as local_lib
from clinometer.tools.study.engines import tries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(autouse=True)
def _cores_of_its_own(monkeypatch):
    # A socket name has at most 107 bytes, fewer than some temporary folders.
    monkeypatch.setattr(cores, "_SOCKET", f"\0{uuid.uuid4()}-{{}}")


def _wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value is not None and value is not False:
            return value
        time.sleep(0.02)
    raise AssertionError("timed out")


def _task(folder, code, *arguments):
    folder.mkdir(exist_ok=True)
    given = ("-c", textwrap.dedent(code), *arguments)
    return executor.Task(folder.name, folder, given)


def _submit(local, *task):
    (handle,) = local.submit([_task(*task)])
    return handle


def test_one_core_log_and_exit_code(tmp_path):
    local = local_lib.LocalExecutor(1)
    run = tmp_path / "run"
    code = """
        import os, sys
        print(len(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"])
        print("to stderr", file=sys.stderr)
        sys.exit(7)
    """
    for _ in range(2):  # The slot comes back, the log is continued.
        handle = _submit(local, run, code)
        assert _wait(lambda handle=handle: local.poll(handle)) == 7
        assert local.poll(handle) == 7
    assert (run / "log.txt").read_text().splitlines() == ["1 1", "to stderr"] * 2
    first, second = tries.read(run)
    assert first.pid != second.pid == handle.process.pid
    assert first.code == second.code == 7 and first.engine == "local"


def test_more_jobs_than_cores_are_not_pinned(tmp_path):
    usable = len(cores.usable())
    said = []
    local = local_lib.LocalExecutor(usable + 1, warn=said.append)
    code = "import os; print(len(os.sched_getaffinity(0)))"
    handle = _submit(local, tmp_path / "run", code)
    assert _wait(lambda: local.poll(handle) == 0)
    assert (tmp_path / "run" / "log.txt").read_text() == f"{usable}\n"
    assert said == ["Not every run has its own core; speeds will be noisy."]


def test_two_studies_take_different_cores(tmp_path):
    usable = cores.usable()
    code = """
        import os, time
        print(*os.sched_getaffinity(0), flush=True)
        time.sleep(60)
    """
    studies = [local_lib.LocalExecutor(1, warn=print) for _ in usable]
    handles = [
        _submit(study, tmp_path / str(i), code) for i, study in enumerate(studies)
    ]
    logs = [handle.task.log for handle in handles]
    _wait(lambda: all(log.read_text() for log in logs))
    assert sorted(int(log.read_text()) for log in logs) == sorted(usable)
    # Another run finds no core and warns. A run that ends releases its core.
    said = []
    more = local_lib.LocalExecutor(1, warn=said.append)
    handle = _submit(more, tmp_path / "more", "pass")
    _wait(lambda: more.poll(handle) == 0)
    assert len(said) == 1
    studies[0].cancel(handles[0], force=True)
    _wait(lambda: studies[0].poll(handles[0]) is not None)
    free = cores.claim()
    assert free.core == int(logs[0].read_text())
    free.close()
    for study, handle in zip(studies[1:], handles[1:]):
        study.cancel(handle, force=True)
        _wait(lambda study=study, handle=handle: study.poll(handle) is not None)


def test_a_second_task_compiles_nothing_anew(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    code = """
        import jax
        found = []
        jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
        jax.jit(lambda x: x + 3)(1.0)
        print([name.rpartition("/")[2] for name in found if "cache_" in name])
    """
    local = local_lib.LocalExecutor(1, programs=tmp_path / "programs")
    for name, expected in (("first", "cache_misses"), ("second", "cache_hits")):
        handle = _submit(local, tmp_path / name, code)
        _wait(lambda handle=handle: local.poll(handle) == 0)
        assert expected in handle.task.log.read_text()


def test_cancel_asks_then_kills(tmp_path):
    code = """
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: print("saving", flush=True))
        pathlib.Path(sys.argv[1]).touch()
        while True: time.sleep(0.05)
    """
    local = local_lib.LocalExecutor(1)
    handle = _submit(local, tmp_path / "run", code, str(tmp_path / "up"))
    _wait((tmp_path / "up").exists)
    local.cancel(handle)
    _wait(lambda: "saving" in handle.task.log.read_text())
    assert local.poll(handle) is None
    local.cancel(handle, force=True)
    assert _wait(lambda: local.poll(handle)) == -signal.SIGKILL


def test_runs_die_with_a_killed_study(tmp_path):
    study = """
        import pathlib, sys, time
        from clinometer.tools.study import executor
        from clinometer.tools.study.engines import local
        run = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()));"
        arguments = ("-c", run + "time.sleep(60)", sys.argv[1] + "/pid")
        task = executor.Task("run", pathlib.Path(sys.argv[1]), arguments)
        local.LocalExecutor(1).submit([task])
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(study), str(tmp_path)],
        env=environment.of_run(os.environ),
    )
    pid_file = tmp_path / "pid"
    # The file exists before its text is written.
    pid = int(_wait(lambda: (pid_file.exists() and pid_file.read_text()) or None))
    parent.kill()
    parent.wait()

    def gone():
        status = pathlib.Path(f"/proc/{pid}/status")
        return not status.exists() or "State:\tZ" in status.read_text()

    _wait(gone)
