"""Tests of the lease: one process per run, and taking over from dead ones."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from clinometer.data import paths
from clinometer.tests import object_store
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


def _process(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(params=["disk", "objects"])
def directory(request, tmp_path):
    """A run directory on a disk or in an object store, which has no locks."""
    if request.param == "disk":
        return tmp_path
    request.getfixturevalue("objects")
    return paths.parse("s3://bucket/run")


def _content(directory, number):
    return json.loads(paths.read_bytes(directory / "lease" / f"{number}.json"))


def _write(directory, number=1, **fields):
    """Writes the file of a holder on another machine."""
    holder = {
        "owner": "x",
        "host": "elsewhere",
        "boot_id": "0" * 36,
        "pid": 7,
        "since": time.time(),
        "beats": 3,
        "released": False,
        **fields,
    }
    paths.make_folder(directory / "lease")
    content = json.dumps(holder).encode()
    paths.write_bytes(directory / "lease" / f"{number}.json", content)


def _beating(directory):
    """Returns a lease of another machine, as this machine's processes see it."""
    made = lease.Lease(directory, host="elsewhere", heartbeat_seconds=0.02)
    made._boot_id = "0" * 36
    made._take_lock = lambda: False
    return made


def test_a_second_holder_is_refused_until_release(directory):
    with lease.Lease(directory, heartbeat_seconds=0.02) as first:
        first.check()
        with pytest.raises(
            errors.RunHeldError, match=f"process {os.getpid()} .* since"
        ):
            lease.Lease(directory).__enter__()
        first.check()
        assert not _content(directory, 1)["released"]
    assert _content(directory, 1)["released"]
    with lease.Lease(directory):
        assert _content(directory, 2)["owner"] != first._owner
        # Files of earlier holders are removed.
        assert set(paths.names(directory / "lease")) - {"lock"} == {"2.json"}


def test_a_killed_process_is_succeeded_at_once(tmp_path):
    process = _process(_HOLD, tmp_path)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(errors.RunHeldError, match=f"process {process.pid} "):
        lease.Lease(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not _content(tmp_path, 1)["released"]
    with lease.Lease(tmp_path):
        assert _content(tmp_path, 2)["pid"] == os.getpid()


def test_another_host_is_believed_while_its_heart_beats(directory, caplog):
    with _beating(directory):
        with pytest.raises(errors.RunHeldError, match=r"process \d+ on elsewhere"):
            lease.Lease(directory).__enter__()
        with pytest.raises(errors.RunHeldError, match=r"process \d+ on elsewhere"):
            lease.Lease(directory).__enter__()
    assert _content(directory, 1)["host"] == "elsewhere"
    words = f"{directory}: last held by process {os.getpid()} on elsewhere since "
    assert words in caplog.text and "up to 60 s for a sign of life" in caplog.text


@pytest.mark.parametrize("since", [-1e6, 1e6])
def test_a_silent_host_is_succeeded_whatever_its_clock_says(directory, since):
    _write(directory, since=time.time() + since)
    before = time.monotonic()
    with lease.Lease(directory, timeout_seconds=0.3):
        assert time.monotonic() - before >= 0.3
        assert _content(directory, 2)["pid"] == os.getpid()


def test_a_host_that_releases_is_succeeded_at_once(directory):
    _write(directory)
    watching = lease.Lease(directory)
    watching._timeout_seconds = 60.0
    threading.Timer(0.2, _write, [directory], {"released": True}).start()
    with watching:
        assert _content(directory, 2)["pid"] == os.getpid()


def test_of_several_successors_one_wins(directory):
    _write(directory)
    won, refused = [], []
    together = threading.Barrier(4)

    def succeed():
        mine = lease.Lease(directory, timeout_seconds=0.3, heartbeat_seconds=0.02)
        mine._take_lock = lambda: False  # As on four machines.
        together.wait()
        try:
            won.append(mine.__enter__())
        except errors.RunHeldError:
            refused.append(mine)

    threads = [threading.Thread(target=succeed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 3)
    won[0].check()
    won[0].release()


def test_a_file_created_too_late_does_not_count(directory):
    """Of a process that had looked before others took and released the lease."""
    _write(directory, 5)
    late = _beating(directory)
    late._numbers = iter([[1], [2, 5], [2, 5], [2, 5]]).__next__
    late._timeout_seconds = 0.1
    _write(directory, 1, released=True)
    assert not late._acquired(locked=False)


_TAKE_OVER = "was taken over by process 7 on elsewhere since .* silent for more than 60"


def test_a_holder_that_was_taken_over_says_so_and_writes_nothing(directory):
    with lease.Lease(directory, heartbeat_seconds=0.02) as held:
        _write(directory, 2)
        with pytest.raises(errors.RunHeldError, match=_TAKE_OVER):
            held.check()
        held._thread.join(30.0)  # It stops by itself.
        before = _content(directory, 1)
    assert _content(directory, 1) == before and not before["released"]


def test_another_owner_of_the_same_number_is_a_take_over(directory):
    """The folder was removed, and another process began again with 1."""
    with lease.Lease(directory) as held:
        _write(directory, 1)
        with pytest.raises(errors.RunHeldError, match=_TAKE_OVER):
            held.check()


def test_a_removed_lease_stops_the_holder(directory):
    with lease.Lease(directory) as held:
        paths.remove(directory / "lease" / "1.json")
        with pytest.raises(errors.RunHeldError, match=r"lease/1.json was removed"):
            held.check()


_FENCED = """
import os, sys, time
from clinometer.data import paths
from clinometer.tests import object_store
from clinometer.train import errors
from clinometer.train.run import lease
object_store.register(os.environ[object_store.FOLDER])
with lease.Lease(sys.argv[1], heartbeat_seconds=0.02) as held:
    try:
        for number in range(2):
            held.check()
            paths.write_text(paths.parse(sys.argv[1]) / "run.json", str(number))
            print("written", flush=True)
            input()  # Is stopped here.
    except errors.RunHeldError as error:
        print(error, flush=True)
"""


def test_a_stopped_holder_that_wakes_after_a_take_over_writes_nothing(objects):
    """In an object store, since on one machine the lock of a disk is never lost."""
    directory = paths.parse("s3://bucket/run")
    process = _process(_FENCED, directory)
    try:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGSTOP)
        with lease.Lease(directory, timeout_seconds=0.5):
            before = _written(directory)
            process.send_signal(signal.SIGCONT)
            told, _ = process.communicate("\n", timeout=60)
            assert f"was taken over by process {os.getpid()} on" in told
            now = _written(directory)
    finally:
        process.kill()
        process.communicate()
    assert now == before == {"run.json": b"0", "lease/2.json": before["lease/2.json"]}


def _written(directory):
    """Returns the files, but the holder's own, in which it may have been stopped."""
    files = set(paths.files_below(directory)) - {"lease/1.json"}
    return {name: paths.read_bytes(directory / name) for name in files}


def test_a_container_with_a_new_name_goes_on_at_once(tmp_path):
    """The kernel released the dead process's lock; the boot id is of this machine."""
    own = lease.boot_id()
    assert len(own) == 36
    _write(tmp_path, host="container-1", boot_id=own)
    with lease.Lease(tmp_path, host="container-2"):
        assert _content(tmp_path, 2)["host"] == "container-2"


def test_a_machine_of_the_same_name_is_another_machine(tmp_path):
    _write(tmp_path, host="localhost", boot_id="0" * 36)
    before = time.monotonic()
    with lease.Lease(tmp_path, host="localhost", timeout_seconds=0.3):
        assert time.monotonic() - before >= 0.3


def test_a_disk_without_locks_is_watched(tmp_path, monkeypatch):
    """Even for a holder on this machine, of which nothing else is known."""

    def no_locks(*unused):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lease.fcntl, "flock", no_locks)
    with (
        lease.Lease(tmp_path, heartbeat_seconds=0.02),
        pytest.raises(errors.RunHeldError, match=f"process {os.getpid()} on "),
    ):
        lease.Lease(tmp_path).__enter__()
    with lease.Lease(tmp_path):
        assert _content(tmp_path, 2)["pid"] == os.getpid()


@pytest.mark.parametrize(
    "fields", [{"beats": None}, {"beats": "many"}, {"beats": True}, {"beats": 1.5}]
)
def test_what_no_process_writes_holds_nobody_up(directory, fields):
    _write(directory, **fields)
    with lease.Lease(directory):
        assert _content(directory, 2)["pid"] == os.getpid()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff\x00", b"[" * 4000])
def test_a_broken_file_holds_nobody_up(directory, text):
    _write(directory)
    paths.write_bytes(directory / "lease" / "1.json", text)
    with lease.Lease(directory):
        assert _content(directory, 2)["pid"] == os.getpid()
    assert _content(directory, 2)["released"]


def test_other_files_do_not_count(directory):
    for name in ("0.json", "03.json", "-1.json", "4.json.tmp", "x.json"):
        paths.make_folder(directory / "lease")
        paths.write_bytes(directory / "lease" / name, b"{}")
    with lease.Lease(directory):
        assert "1.json" in paths.names(directory / "lease")


@pytest.mark.parametrize(
    "since", [None, "then", 1e300, -1e300, pytest.param(10**400, id="long")]
)
def test_a_holder_since_no_calendar_knows(tmp_path, since):
    _write(tmp_path, since=since)
    threading.Timer(0.2, _write, [tmp_path], {"since": since, "beats": 4}).start()
    with pytest.raises(errors.RunHeldError, match="on elsewhere since an unknown"):
        lease.Lease(tmp_path).__enter__()


def test_the_heart_beats(directory):
    with lease.Lease(directory, heartbeat_seconds=0.01):
        for _ in range(1000):
            if _content(directory, 1)["beats"] > 2:
                break
            time.sleep(0.01)
        assert _content(directory, 1)["beats"] > 2


def test_a_full_disk_does_not_keep_a_run_from_ending(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    with lease.Lease(tmp_path):
        monkeypatch.setattr(paths, "write_bytes", full)
    assert not _content(tmp_path, 1)["released"]
    monkeypatch.undo()
    with lease.Lease(tmp_path):
        pass


def test_the_stand_in_has_no_locks(objects):
    assert object_store.ObjectStore().folder == objects
    with lease.Lease("gs://bucket/run"):
        names = [pathlib.Path(p).name for p in os.listdir(objects)]
    assert not any(name.endswith("lock") for name in names)


def test_the_trainer_exits_with_43_and_touches_nothing(tmp_path, arguments, capsys):
    with lease.Lease(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        assert main.main([*arguments(), f"--workdir={tmp_path}"]) == 43
        assert sorted(tmp_path.rglob("*")) == before
    assert f"is being trained by process {os.getpid()}" in capsys.readouterr().err
