"""Locks and the errors of disks."""

import errno
import os
import threading
import time

import pytest

from clinometer.data import files
from clinometer.data.errors import DataError


def test_who_waits_for_a_lock_says_so(tmp_path, capsys):
    path, order = str(tmp_path / "made.lock"), []

    def wait():
        with files.lock(path, wait=True):
            order.append("second")

    with files.lock(path, wait=False):
        with (
            pytest.raises(DataError, match=r"Another process .* lock '.*made\.lock'"),
            files.lock(path, wait=False),
        ):
            pass
        other = threading.Thread(target=wait)
        other.start()
        said = ""
        for _ in range(6000):  # until it has come to the lock
            said += capsys.readouterr().err
            if said:
                break
            time.sleep(0.01)
        assert said.startswith("clinometer: waiting, as another process is writing")
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EIO, errno.ENOENT]
)
def test_what_a_disk_refuses_names_the_file(code):
    with (
        pytest.raises(DataError, match=rf"the store: {os.strerror(code)} \(a/b\)"),
        files.disk_errors("the store"),
    ):
        raise OSError(code, os.strerror(code), "a/b")


def test_other_errors_keep_their_traceback():
    with pytest.raises(OSError, match="Interrupted"), files.disk_errors("the store"):
        raise OSError(errno.EINTR, "Interrupted system call")
    with pytest.raises(RuntimeError, match="a bug"), files.disk_errors("the store"):
        raise RuntimeError("a bug")
