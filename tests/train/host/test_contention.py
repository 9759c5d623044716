"""Tests of the CPU time lost to other processes, with fake clocks."""

import os
import subprocess
import sys

import pytest

from clinometer.train.host import contention


class _Machine:
    """Clocks that return the wall, CPU and waiting time they were set to."""

    def __init__(self, num_cores):
        self.wall = self.ran = self.waited = 0.0
        self.meter = contention.Contention(
            waited=lambda: self.waited,
            clock=lambda: self.wall,
            processor_clock=lambda: self.ran,
            num_cores=num_cores,
        )

    def pass_by(self, wall, ran, waited, counts=True):
        self.wall += wall
        self.ran += ran
        if waited is None or self.waited is None:
            self.waited = None
        else:
            self.waited += waited
        self.meter.interval_done(counts)
        return self.meter.fraction


@pytest.mark.parametrize(
    ("num_cores", "ran", "waited", "expected"),
    [
        (1, 1.0, 0.0, 0.0),  # alone
        (1, 0.5, 0.5, 0.5),  # two on one core
        (1, 1.0, 3.0, 0.0),  # its own threads wait for each other
        (1, 0.5, 0.0, 0.0),  # it waits for a disk, or was stopped
        (2, 1.5, 0.5, 0.25),  # another process has half of one of two cores
        (2, 0.5, 0.5, 0.5),  # one thread among many processes
        (16, 0.5, 0.5, 0.5),  # one thread among many processes, other cores idle
        (16, 0.3, 0.02, 0.02),  # it feeds a GPU
    ],
)
def test_what_is_lost(num_cores, ran, waited, expected):
    machine = _Machine(num_cores)
    assert machine.pass_by(1.0, ran, waited) == pytest.approx(expected)


def test_only_what_counts_counts_and_earlier_processes_too():
    machine = _Machine(1)
    assert machine.pass_by(10.0, 1.0, 9.0, counts=False) is None
    machine.pass_by(3.0, 3.0, 0.0)
    machine.meter.add_earlier({"lost": 1.0, "wanted": 1.0})
    assert machine.meter.fraction == pytest.approx(0.25)
    assert machine.meter.sums == {"lost": 1.0, "wanted": 4.0}


def test_a_system_that_does_not_tell():
    machine = _Machine(1)
    assert machine.pass_by(1.0, 0.5, None) is None


_SHARED_CORE = """
import os, time
from clinometer.train.host import contention

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if os.fork() == 0:
    os.execvp("timeout", ["timeout", "20", "sh", "-c", "while :; do :; done"])
meter = contention.Contention()
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
meter.interval_done(counts=True)
print(meter.fraction)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_core_that_is_shared(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _SHARED_CORE],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    fraction = float(process.stdout.readline())
    os.killpg(process.pid, 9)
    process.communicate()
    assert 0.2 < fraction < 1.0
