"""Tests of the cores used by other processes, with fake clocks and a real process."""

import os
import subprocess
import sys
import time

import pytest

from clinometer.train.host import other_work


class _Host:
    """Clocks that return the wall time and CPU times they were set to."""

    def __init__(self):
        self.wall = self.own = self.busy = 0.0
        self.meter = other_work.OtherWork(
            busy=lambda: self.busy,
            clock=lambda: self.wall,
            processor_clock=lambda: self.own,
        )

    def pass_by(self, wall, own, busy, counts=True):
        self.wall += wall
        self.own += own
        self.busy = None if busy is None else self.busy + busy
        self.meter.interval_done(counts)
        return self.meter.cores


@pytest.mark.parametrize(
    ("own", "busy", "expected"),
    [
        (2.0, 2.0, 0.0),  # alone
        (2.0, 3.0, 0.5),  # half a core of someone else
        (0.1, 8.1, 4.0),  # four cores of others
        (2.0, 1.9, 0.0),  # the clock's resolution
    ],
)
def test_what_others_use(own, busy, expected):
    assert _Host().pass_by(2.0, own, busy) == pytest.approx(expected)


def test_only_what_counts_counts_and_earlier_processes_too():
    host = _Host()
    assert host.pass_by(10.0, 1.0, 9.0, counts=False) is None
    host.pass_by(3.0, 1.0, 4.0)
    host.meter.add_earlier({"used": 1.0, "seconds": 1.0})
    assert host.meter.cores == pytest.approx(1.0)
    assert host.meter.sums == {"used": 4.0, "seconds": 4.0}


def test_a_system_that_does_not_tell():
    assert _Host().pass_by(1.0, 0.5, None) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_process_beside_this_one_is_seen():
    code = "import time\nend = time.time() + 30\nwhile time.time() < end: pass"
    meter = other_work.OtherWork()
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(2.0)
    meter.interval_done(counts=True)
    process.kill()
    process.wait()
    assert 0.3 < meter.cores < os.cpu_count() + 0.5
