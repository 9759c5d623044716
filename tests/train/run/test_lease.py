"""Tests of the lease: one process per run, and taking over from dead ones."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from clinometer.train import errors
from clinometer.train import main
from clinometer.train.run import lease

_HOLD = """
import sys, time
from clinometer.train.run import lease
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


def test_a_container_with_a_new_name_goes_on_at_once(tmp_path):
    """The kernel released the dead process's lock; the boot id is of this machine."""
    first = lease.Lease(tmp_path, host="container-1")
    with first:
        content = _content(tmp_path)
    assert len(content["boot_id"]) == 36
    _write(tmp_path, host="container-1", boot_id=content["boot_id"])
    with lease.Lease(tmp_path, host="container-2"):
        assert _content(tmp_path)["host"] == "container-2"
    # The boot id of another machine is irrelevant.
    _write(tmp_path, host="container-1", boot_id="0" * 36)
    with pytest.raises(errors.RunHeldError, match="process 7 on container-1"):
        lease.Lease(tmp_path, host="container-2").__enter__()


@pytest.mark.parametrize(
    "fields",
    [
        {"heartbeat": None},
        {"heartbeat": "now"},
        {"host": None},
        {"host": 7, "boot_id": []},
        {"host": ["elsewhere"], "released": "no"},
        {"heartbeat": float("nan")},
        {"heartbeat": False, "pid": {}},
    ],
)
def test_what_no_process_writes_holds_nobody_up(tmp_path, fields):
    _write(tmp_path, **fields)
    with lease.Lease(tmp_path):
        assert _content(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize(
    "since", [None, "then", 1e300, -1e300, pytest.param(10**400, id="long")]
)
def test_a_holder_since_no_calendar_knows(tmp_path, since):
    _write(tmp_path, since=since)
    with pytest.raises(errors.RunHeldError, match="on elsewhere since an unknown"):
        lease.Lease(tmp_path).__enter__()


def test_a_heartbeat_of_the_future_is_named(tmp_path):
    _write(tmp_path, heartbeat=time.time() + 1e6)
    words = r"lease.json: the heartbeat of elsewhere is 1,000,000 s ahead"
    with pytest.raises(errors.RunHeldError, match=words):
        lease.Lease(tmp_path).__enter__()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff\x00", b"[" * 4000])
def test_a_broken_file_holds_nobody_up(tmp_path, text):
    (tmp_path / lease.FILE_NAME).write_bytes(text)
    with lease.Lease(tmp_path):
        assert _content(tmp_path)["pid"] == os.getpid()
    assert _content(tmp_path)["released"]


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
