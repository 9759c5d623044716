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


def _python(code, *arguments):
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


def test_one_core_log_and_exit_code(tmp_path):
    local = executor.LocalExecutor(1)
    log = tmp_path / "log.txt"
    code = """
        import os, sys
        print(len(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"])
        print("to stderr", file=sys.stderr)
        sys.exit(7)
    """
    for _ in range(2):  # The slot comes back, the log is continued.
        handle = local.submit(_python(code), log)
        assert _wait(lambda handle=handle: local.poll(handle)) == 7
    assert log.read_text().splitlines() == ["1 1", "to stderr"] * 2


def test_more_jobs_than_cores_are_not_pinned(tmp_path):
    usable = len(cores.usable())
    said = []
    local = executor.LocalExecutor(usable + 1, warn=said.append)
    code = "import os; print(len(os.sched_getaffinity(0)))"
    handle = local.submit(_python(code), tmp_path / "log")
    assert _wait(lambda: local.poll(handle) == 0)
    assert (tmp_path / "log").read_text() == f"{usable}\n"
    assert said == ["Not every run has its own core; speeds will be noisy."]


def test_two_studies_take_different_cores(tmp_path):
    usable = cores.usable()
    code = """
        import os, time
        print(*os.sched_getaffinity(0), flush=True)
        time.sleep(60)
    """
    studies = [executor.LocalExecutor(1, warn=print) for _ in usable]
    handles = [
        study.submit(_python(code), tmp_path / f"{i}.txt")
        for i, study in enumerate(studies)
    ]
    logs = [tmp_path / f"{i}.txt" for i in range(len(studies))]
    _wait(lambda: all(log.read_text() for log in logs))
    assert sorted(int(log.read_text()) for log in logs) == sorted(usable)
    # Another run finds no core and warns. A run that ends releases its core.
    said = []
    more = executor.LocalExecutor(1, warn=said.append)
    handle = more.submit(_python("pass"), tmp_path / "more.txt")
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


def test_cancel_asks_then_kills(tmp_path):
    code = """
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: print("saving", flush=True))
        pathlib.Path(sys.argv[1]).touch()
        while True: time.sleep(0.05)
    """
    local = executor.LocalExecutor(1)
    handle = local.submit(_python(code, str(tmp_path / "up")), tmp_path / "log")
    _wait((tmp_path / "up").exists)
    local.cancel(handle)
    _wait(lambda: "saving" in (tmp_path / "log").read_text())
    assert local.poll(handle) is None
    local.cancel(handle, force=True)
    assert _wait(lambda: local.poll(handle)) == -signal.SIGKILL


def test_runs_die_with_a_killed_study(tmp_path):
    study = """
        import pathlib, sys, time
        from clinometer.tools.study import executor
        run = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()));"
        command = [sys.executable, "-c", run + "time.sleep(60)", sys.argv[1] + "/pid"]
        executor.LocalExecutor(1).submit(command, pathlib.Path(sys.argv[1]) / "log")
        time.sleep(60)
    """
    paths = executor.one_core_environment(os.environ)
    parent = subprocess.Popen(_python(study, str(tmp_path)), env=paths)
    pid_file = tmp_path / "pid"
    # The file exists before its text is written.
    pid = int(_wait(lambda: (pid_file.exists() and pid_file.read_text()) or None))
    parent.kill()
    parent.wait()

    def gone():
        status = pathlib.Path(f"/proc/{pid}/status")
        return not status.exists() or "State:\tZ" in status.read_text()

    _wait(gone)


def test_environment_keeps_other_flags():
    env = executor.one_core_environment({"XLA_FLAGS": "--xla_dump_to=x", "HOME": "/h"})
    assert env["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert env["HOME"] == "/h"
