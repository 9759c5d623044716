"""Tests that a core is given to only one run on the machine."""

import os
import subprocess
import sys
import uuid

import pytest

from clinometer.tools.study import cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(autouse=True)
def _names_of_its_own(monkeypatch):
    # A socket name has at most 107 bytes, fewer than some temporary folders.
    monkeypatch.setattr(cores, "_SOCKET", f"\0{uuid.uuid4()}-{{}}")


def test_a_core_is_given_once_until_it_is_given_back():
    claims = [cores.claim() for _ in cores.usable()]
    assert sorted(c.core for c in claims) == sorted(os.sched_getaffinity(0))
    assert cores.claim() is None
    claims[-1].close()
    again = cores.claim()
    assert again.core == claims[-1].core
    for claim in (*claims[:-1], again):
        claim.close()


def test_a_claim_lives_with_the_run_that_has_it(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    claim = cores.claim()
    run = subprocess.Popen(["sleep", "60"], pass_fds=[claim.descriptor])
    claim.close()  # The study goes.
    assert cores.claim() is None
    run.kill()
    run.wait()
    claim = cores.claim()
    assert claim.core == 0
    claim.close()


@pytest.mark.parametrize(
    ("siblings", "cores_here", "order"),
    [
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, {0, 1, 2, 3}, [0, 1, 2, 3]),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {0, 1, 2, 3}, [0, 2, 1, 3]),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {1, 2, 3}, [1, 2, 3]),
        ({}, {5, 4}, [4, 5]),
    ],
)
def test_hardware_threads_of_one_core_come_last(
    tmp_path, monkeypatch, siblings, cores_here, order
):
    for core, text in siblings.items():
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    monkeypatch.setattr(cores, "_CORES", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores_here)
    assert cores.usable() == order


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, 4), (8.0, 4), (2.5, 2), (1.0, 1), (0.3, 1)]
)
def test_a_containers_quota_counts(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(cores.cpu_quota, "cpu_quota", lambda: quota)
    assert cores.count() == expected
