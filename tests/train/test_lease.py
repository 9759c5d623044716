"""The lease: one process a run, taken over from the dead."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from clinometer.train import errors
from clinometer.train import lease
from clinometer.train import main

_HOLD = """
import sys, time
from clinometer.train import lease
with lease.Lease(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def _content(directory):
    return json.loads((directory / lease.FILE_NAME).read_text())


def test_a_second_holder_is_refused_until_release(tmp_path):
    with lease.Lease(tmp_path):
        with pytest.raises(
            errors.RunHeldError, match=f"process {os.getpid()} .* since"
        ):
            lease.Lease(tmp_path).__enter__()
        assert not _content(tmp_path)["released"]
    assert _content(tmp_path)["released"]
    with lease.Lease(tmp_path):
        pass


def test_a_killed_process_is_succeeded_at_once(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(errors.RunHeldError, match=f"process {process.pid} "):
        lease.Lease(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not _content(tmp_path)["released"]
    with lease.Lease(tmp_path):
        assert _content(tmp_path)["pid"] == os.getpid()


def _write(directory, **fields):
    now = time.time()
    holder = {"host": "elsewhere", "pid": 7, "since": now, "heartbeat": now, **fields}
    (directory / lease.FILE_NAME).write_text(json.dumps(holder))


def test_another_host_is_believed_until_its_heartbeat_is_old(tmp_path):
    _write(tmp_path)
    with pytest.raises(errors.RunHeldError, match="process 7 on elsewhere"):
        lease.Lease(tmp_path).__enter__()
    assert _content(tmp_path)["host"] == "elsewhere"
    _write(tmp_path, heartbeat=time.time() - 2 * lease.TIMEOUT_SECONDS)
    with lease.Lease(tmp_path):
        pass
    _write(tmp_path, released=True)
    with lease.Lease(tmp_path):
        pass


def test_the_heart_beats(tmp_path):
    with lease.Lease(tmp_path, heartbeat_seconds=0.01):
        first = _content(tmp_path)["heartbeat"]
        for _ in range(1000):
            if _content(tmp_path)["heartbeat"] > first:
                break
            time.sleep(0.01)
        assert _content(tmp_path)["heartbeat"] > first


def test_the_trainer_exits_with_43_and_touches_nothing(tmp_path, arguments, capsys):
    with lease.Lease(tmp_path):
        before = sorted(tmp_path.iterdir())
        assert main.main([*arguments(), f"--workdir={tmp_path}"]) == 43
        assert sorted(tmp_path.iterdir()) == before
    assert f"is being trained by process {os.getpid()}" in capsys.readouterr().err
