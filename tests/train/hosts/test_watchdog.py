"""Tests of the limits for a step and for all else, with a clock of the test."""

import queue
import time

import pytest

from clinometer.train.hosts import watchdog


class _Clock:
    """A clock that the test moves; a look is due after each second."""

    def __init__(self, step_seconds=300, other_seconds=3600):
        self.now = 0.0
        self.dog = watchdog.Watchdog(
            step_seconds, other_seconds, lambda problem: None, lambda: self.now
        )

    def pass_(self, seconds):
        """Lets time pass, with a look each second; returns the first sentence."""
        said = []
        for _ in range(seconds):
            self.now += 1.0
            said.append(self.dog.look())
        return next(filter(None, said), None)

    def steps(self, number, seconds):
        for _ in range(number):
            assert self.pass_(seconds) is None
            self.dog.step_done()


def test_a_step_has_300_seconds():
    clock = _Clock()
    clock.steps(5, 2)
    assert clock.pass_(300) is None
    assert clock.pass_(1) == "a train step did not end within 300 s"


def test_slow_steps_have_20_medians():
    clock = _Clock()
    clock.steps(6, 30)
    assert clock.pass_(600) is None
    assert clock.pass_(1) == "a train step did not end within 600 s"


def test_the_start_has_the_longer_limit():
    clock = _Clock()
    assert clock.pass_(3600) is None
    assert clock.pass_(1) == "the start of the run did not end within 3600 s"


def test_other_work_has_the_longer_limit_and_is_no_step():
    clock = _Clock()
    clock.steps(5, 2)
    with clock.dog.other("the evaluation"):
        assert clock.pass_(3600) is None
        assert clock.pass_(1) == "the evaluation did not end within 3600 s"
    clock.steps(1, 290)  # The first step after it does not count for the median.
    clock.steps(3, 2)
    assert clock.pass_(300) is None
    assert clock.pass_(1) == "a train step did not end within 300 s"


def test_other_work_before_the_first_step_does_not_end_the_start():
    clock = _Clock()
    with clock.dog.other("the compilation"):
        assert clock.pass_(3600) is None
    assert clock.pass_(3600) is None
    assert clock.pass_(1) == "the start of the run did not end within 3600 s"


def test_a_pause_of_the_process_does_not_count():
    clock = _Clock()
    clock.steps(5, 2)
    clock.now += 10_000.0  # No looks: SIGSTOP or system sleep.
    assert clock.dog.look() is None
    assert clock.pass_(298) is None  # The pause counts as two intervals of 1 s.
    assert clock.pass_(1) is not None


@pytest.mark.parametrize("steps", [0, 3])
def test_the_thread_tells_it(steps):
    said = queue.SimpleQueue()
    with watchdog.Watchdog(0.05, 0.05, said.put) as dog:
        for _ in range(steps):
            dog.step_done()
        assert said.get(timeout=30).endswith("did not end within 0.05 s")


def test_the_end_of_the_context_ends_the_thread():
    said = queue.SimpleQueue()
    with watchdog.Watchdog(0.05, 0.05, said.put):
        pass
    time.sleep(0.2)
    assert said.empty()
