"""Tests that a tracker can neither stop nor slow a run."""

import threading
import time

import pytest

from clinometer.tests.train.tracking import fakes
from clinometer.train.tracking import isolated


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_calls_arrive_in_order_in_another_thread(caplog):
    threads = set()

    class Watched(fakes.Memory):
        def scalars(self, step, values):
            threads.add(threading.current_thread())
            super().scalars(step, values)

    tracker = Watched(None)
    one = isolated.Isolated("watched", lambda: tracker)
    for step in range(20):
        one.scalars(step, {"x": float(step)})
    one.sync()
    one.finish("finished")
    steps = [(step, {"x": float(step)}) for step in range(20)]
    assert tracker.calls == [*steps, "sync", "finished"]
    assert threading.main_thread() not in threads and len(threads) == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("place", ["make", "scalars", "sync", "finish"])
@pytest.mark.parametrize("error", [OSError("no network"), SystemExit("login")])
def test_a_failure_is_one_warning(place, error, caplog):
    def fail(*given):
        raise error

    tracker = fakes.Memory(None)
    setattr(tracker, place, fail)
    one = isolated.Isolated("x", fail if place == "make" else lambda: tracker)
    for step in range(3):
        one.scalars(step, {})
        one.sync()
    one.finish("finished")
    assert warnings(caplog) == [
        "tracker x is off from here on, and the run goes on: "
        f"{type(error).__name__}: {error}"
    ]
    assert "finished" not in tracker.calls


@pytest.mark.parametrize("place", ["make", "scalars"])
def test_one_that_hangs_takes_no_time_of_the_run(place, caplog):
    released = threading.Event()
    tracker = fakes.Memory(None)
    if place == "scalars":
        tracker.scalars = lambda step, values: released.wait()

    def make():
        if place == "make":
            released.wait()
        return tracker

    one = isolated.Isolated("x", make, most_waiting=5, finish_seconds=0.01)
    began = time.monotonic()
    for step in range(100):
        one.scalars(step, {})
    one.finish("finished")
    # Had it waited, it would wait for ever.
    assert time.monotonic() - began < 30
    (warning,) = warnings(caplog)
    assert warning.endswith("hangs: 5 records wait for it")
    released.set()
    one._thread.join(30)
    assert not one._thread.is_alive()
    assert "finished" not in tracker.calls


@pytest.mark.parametrize(
    ("status", "seconds"), [("finished", 0.02), ("stopped", 0.01), ("failed", 0.01)]
)
def test_an_end_that_takes_too_long_is_not_awaited(
    status, seconds, caplog, monkeypatch
):
    monkeypatch.setattr(isolated, "_STOP_SECONDS", 0.01)
    released = threading.Event()
    tracker = fakes.Memory(None)
    tracker.finish = lambda status: released.wait()
    one = isolated.Isolated("x", lambda: tracker, finish_seconds=0.02)
    one.finish(status)
    (warning,) = warnings(caplog)
    assert warning.endswith(f"not done {seconds:g} s after the end of the run")
    released.set()
