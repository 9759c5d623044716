"""Tests of the stopwatch and the speed windows with a fake clock."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from clinometer.train.host import pauses
from clinometer.train.host import speed


class _Clock:
    """A clock that returns the time it was set to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_every_moment_is_charged_once():
    clock = _Clock()
    watch = speed.Stopwatch(clock)
    clock.now = 1.0
    with watch.charge("compile"):
        clock.now = 4.0
        with watch.charge("checkpoint"):
            clock.now = 9.0
        clock.now = 10.0
    clock.now = 10.5
    watch.add_earlier({"compile": 100.0, "total": 100.0})
    assert watch.snapshot() == {
        "total": 110.5,
        "compile": 104.0,
        "calibration": 0.0,
        "input_wait": 0.0,
        "step": 0.0,
        "evaluation": 0.0,
        "checkpoint": 5.0,
        "paused": 0.0,
        "other": 1.5,
    }


def _measure(step_seconds, window_steps, start_step=0, evaluate_at=()):
    """Simulates steps of given lengths, with evaluations of 100 s."""
    clock = _Clock()
    watch = speed.Stopwatch(clock)
    meter = speed.SpeedMeter(watch, window_steps)
    meter.step_done(start_step)
    for step, seconds in enumerate(step_seconds, start_step + 1):
        with watch.charge("step"):
            clock.now += seconds
        meter.step_done(step)
        if step in evaluate_at:
            with watch.charge("evaluation"):
                clock.now += 100.0
    return meter


def test_windows_are_aligned_and_the_first_two_dropped():
    meter = _measure([9.0] * 4 + [0.5, 1.5, 0.25, 0.25, 7.0], window_steps=2)
    np.testing.assert_allclose(meter.windows, [2 / 2.0, 2 / 0.5])
    # Begun at step 3, the first whole windows are [4, 6) and [6, 8): dropped.
    meter = _measure([1.0] * 5 + [0.5, 0.5, 1.0], window_steps=2, start_step=3)
    np.testing.assert_allclose(meter.windows, [2 / 1.0])


def test_evaluation_is_not_training():
    plain = _measure([1.0] * 12, window_steps=3)
    evaluated = _measure([1.0] * 12, window_steps=3, evaluate_at=(6, 7, 9))
    np.testing.assert_allclose(plain.windows, [1.0, 1.0])
    np.testing.assert_allclose(evaluated.windows, [1.0, 1.0])


def test_a_pause_is_marked_and_is_no_training():
    """Between two checks, wall time passes but no CPU time is used."""
    clock, processor = _Clock(), _Clock()
    pause_watch = pauses.PauseWatch(clock, processor)
    watch = speed.Stopwatch(clock, pause_watch)
    meter = speed.SpeedMeter(watch, window_steps=1)
    meter.step_done(0)
    for step, (seconds, worked) in enumerate(
        [(1.0, 1.0)] * 3  # Two of them are dropped.
        + [(31.0, 1.0)]  # SIGSTOP for 30 s.
        + [(31.0, 29.0)]  # A long step, during which the thread did not run.
        + [(1.5, 0.0)],  # A step of a device.
        start=1,
    ):
        with watch.charge("step"):
            clock.now += seconds
            processor.now += worked
        meter.step_done(step)
    np.testing.assert_allclose(meter.windows, [1.0, 1 / 31.0, 1 / 1.5])
    assert meter.summary(1, 1, None).paused_windows == 1
    seconds = watch.snapshot()
    # It was running for up to the interval between checks.
    assert seconds["paused"] == 31.0 - pauses.INTERVAL_SECONDS
    assert seconds["total"] == 3.0 + 31.0 + 31.0 + 1.5
    assert watch.training_seconds() == seconds["total"] - seconds["paused"]


def test_what_is_before_the_start_is_no_pause():
    clock, processor = _Clock(), _Clock()
    watch = pauses.PauseWatch(clock, processor)
    clock.now += 60.0  # As when the lease of a dead process is awaited.
    watch.start()
    watch.stop()
    assert (watch.count, watch.seconds) == (0, 0.0)
    clock.now += 60.0
    watch.look()
    assert watch.count == 1


@pytest.mark.slow
def test_a_stopped_process_sees_its_pause(tmp_path):
    code = """
import sys, time
from clinometer.train.host import pauses
watch = pauses.PauseWatch()
watch.start()
print("ready", flush=True)
sys.stdin.readline()
watch.look()
print(watch.count, watch.seconds)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate("\n")
    count, seconds = out.split()
    assert count == "1"
    assert float(seconds) > 4 - 2 * pauses.INTERVAL_SECONDS


@pytest.mark.parametrize(
    ("train_steps", "log_every", "length"),
    [(600, 100, 27), (600, 10, 10), (2**19, 100, 100), (40, 10, 1), (1, 10, 1)],
)
def test_window_length(train_steps, log_every, length):
    assert speed.window_length(train_steps, log_every) == length
    counted = train_steps // length - speed.DROPPED_WINDOWS
    assert counted >= 20 or length == 1


def _meter(*windows):
    meter = speed.SpeedMeter(speed.Stopwatch(), 5)
    meter.windows.extend(windows)
    return meter


def test_summary():
    meter = _meter(1.0, 2.0, 3.0, 4.0, 5.0)
    summary = meter.summary(100, 10**9, 6e9)
    assert summary.steps_per_second_median == 3.0
    assert summary.steps_per_second_iqr == 2.0  # 4 - 2
    assert summary.tokens_per_second_median == 300.0
    assert summary.mfu == pytest.approx(0.5)
    assert summary.fraction_of_measured_matmul is None
    measured = meter.summary(100, 10**9, None, 4e9)
    assert measured.mfu is None
    assert measured.fraction_of_measured_matmul == pytest.approx(0.75)
    assert measured.measured_matmul_flops_per_second == 4e9
    assert summary.noisy
    quiet = _meter(1.0, 1.01, 1.02).summary(1, 1, None)
    assert not quiet.noisy
    assert quiet.mfu is None
    empty = _meter().summary(1, 1, 1.0)
    assert empty.steps_per_second_median is None
    assert empty.noisy


def test_the_error_of_the_median_decides_not_the_spread_of_windows():
    few, many = ([0.8, 1.0, 1.2] * times for times in (3, 300))
    for windows, noisy in ((few, True), (many, False)):
        summary = _meter(*windows).summary(1, 1, None)
        assert summary.steps_per_second_iqr / summary.steps_per_second_median > 0.1
        assert summary.noisy == noisy


def test_the_error_is_that_of_simulated_medians():
    rng = np.random.default_rng(0)
    samples = rng.normal(10, 1, (400, 100))
    errors = [
        _meter(*windows).summary(1, 1, None).steps_per_second_median_error
        for windows in samples
    ]
    expected = np.std(np.median(samples, axis=1))
    assert np.mean(errors) == pytest.approx(expected, rel=0.1)


def test_a_run_timed_beside_other_work_is_noisy():
    meter = _meter(1.0, 1.0, 1.0)
    meter.contention.add_earlier({"lost": 0.1, "wanted": 10.0})
    assert not meter.summary(1, 1, None).noisy
    meter.contention.add_earlier({"lost": 0.2, "wanted": 0.0})
    summary = meter.summary(1, 1, None)
    assert summary.noisy
    assert summary.processor_lost_to_others == pytest.approx(0.03)
    meter = _meter(1.0, 1.0, 1.0)
    meter.other_work.add_earlier({"used": 9.0, "seconds": 10.0})
    summary = meter.summary(1, 1, None)
    assert summary.noisy
    assert summary.cores_used_by_others == pytest.approx(0.9)
    # Work on the cores of the host does not slow another device.
    assert not meter.summary(1, 1, None, on_host=False).noisy


def test_the_reference_benchmark_is_recorded_twice():
    summary = _meter(1.0).summary(1, 1, None, 4e9, 3e9)
    assert summary.measured_matmul_flops_per_second == 4e9
    assert summary.measured_matmul_flops_per_second_after == 3e9


def test_peak():
    assert speed.peak_flops_per_second("TPU v4", 4, None) == 4 * 275e12
    assert speed.peak_flops_per_second("TPU v4", 2, 1e12) == 2e12
    assert speed.peak_flops_per_second("cpu", 1, None) is None
