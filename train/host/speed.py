"""Measures the wall time of a run by category, and the speed of its steps."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import math
import time
from typing import Any

import numpy as np

from clinometer.train.host import contention
from clinometer.train.host import other_work
from clinometer.train.host import pauses as pauses_lib
from clinometer.train.run import record as run_record

# Categories of wall time. `compile` is all set-up except `calibration`, the measurement
# of the rate of matrix products.
CATEGORIES = (
    "compile",
    "calibration",
    "input_wait",
    "step",
    "evaluation",
    "checkpoint",
    "paused",
    "other",
)
# Categories that do not count as training time and are excluded from the windows.
_EXCLUDED = ("compile", "calibration", "evaluation", "checkpoint", "paused")

DROPPED_WINDOWS = 2
MIN_WINDOWS = 20
# A run is noisy, and not used in fits of speed, if the standard error of its median
# exceeds this fraction of it, or if it was timed beside other work: if others took more
# than this fraction of its CPU time, or used more than this number of cores of a host
# whose cores are the device.
MEDIAN_ERROR_ABOVE = 0.02
LOST_ABOVE = 0.02
CORES_OF_OTHERS_ABOVE = 0.5
# Standard error of a normal sample's median over IQR / sqrt(n) (McGill et al., 1978).
_MEDIAN_ERROR = 0.93

# Peak FLOPs/s of dense bfloat16 matrix products per JAX device, by device kind.
# TPU: Google Cloud's pages and, of v2, Jouppi et al. 2020, which give it per chip
# (chips of v2, v3 and 7x are two devices). GPU: NVIDIA's data sheets, SXM version,
# without sparsity.
PEAK_FLOPS_PER_SECOND = {
    "TPU v2": 23e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU7x": 1153.5e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
}


class Stopwatch:
    """Charges wall time to categories, each moment to exactly one.

    Attributes:
        seconds: seconds by category, including earlier processes of the run.
        pauses: number of pauses of this process; their time is in `paused`.
    """

    def __init__(
        self,
        clock: Any = time.perf_counter,
        pause_watch: pauses_lib.PauseWatch | None = None,
    ):
        """Starts the clock, charging to `other` outside all `charge` contexts.

        Args:
            clock: returns the wall time in seconds.
            pause_watch: detects pauses; None not to detect them.
        """
        self._clock = clock
        self._pause_watch = pause_watch
        self._paused = 0.0  # Last value of `pause_watch.seconds`.
        self.pauses = 0
        self._last = clock()
        self._stack = ["other"]
        self.seconds = dict.fromkeys(CATEGORIES, 0.0)

    def add_earlier(self, seconds: Mapping[str, float]) -> None:
        """Adds the seconds of earlier processes of the run, by category."""
        for category in CATEGORIES:
            self.seconds[category] += seconds.get(category, 0.0)

    @contextlib.contextmanager
    def charge(self, category: str) -> Iterator[None]:
        """Charges the time spent in the context, except in inner contexts.

        Args:
            category: one of `CATEGORIES`.
        """
        self._settle()
        self._stack.append(category)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def training_seconds(self) -> float:
        """Returns the seconds so far, without set-up, evaluation, saves and pauses."""
        self._settle()
        return sum(s for c, s in self.seconds.items() if c not in _EXCLUDED)

    def snapshot(self) -> dict[str, float]:
        """Returns the seconds by category, and their sum as `total`."""
        self._settle()
        return {"total": sum(self.seconds.values()), **self.seconds}

    def _settle(self) -> None:
        elapsed = self._clock() - self._last
        self._last += elapsed
        paused = 0.0
        if self._pause_watch is not None:
            self._pause_watch.look()
            # The clock may not advance during system sleep.
            paused = min(self._pause_watch.seconds - self._paused, elapsed)
            self._paused = self._pause_watch.seconds
            self.pauses = self._pause_watch.count
        self.seconds["paused"] += paused
        self.seconds[self._stack[-1]] += elapsed - paused


def window_length(train_steps: int, log_every_steps: int) -> int:
    """Returns the number of steps per window of the speed measurement.

    It is chosen so that at least 20 windows count, if the run has enough steps, and no
    window is longer than the interval of the log. A run of fewer than 44 steps has
    windows of one step.

    Args:
        train_steps: number of steps in the whole run.
        log_every_steps: number of steps between log records.
    """
    longest = train_steps // (MIN_WINDOWS + DROPPED_WINDOWS)
    return max(1, min(longest, log_every_steps))


class SpeedMeter:
    """Measures steps per second over windows of steps [k W, (k + 1) W).

    A window ends when the metrics of its last step have reached the host. The next step
    has been dispatched by then, so this synchronises with the device without idling it.

    Attributes:
        window_steps: W.
        windows: steps per second of each counted window, including earlier processes
            of the run.
        paused_windows: number of windows not counted because the process was paused.
        contention: CPU time lost to other processes in the counted windows.
        other_work: cores that other processes used in them.
    """

    def __init__(self, stopwatch: Stopwatch, window_steps: int):
        """Starts without a window.

        Args:
            stopwatch: gives the training time.
            window_steps: W.
        """
        self._stopwatch = stopwatch
        self.window_steps = window_steps
        self.windows: list[float] = []
        self.paused_windows = 0
        self._pauses = 0  # Last value of `stopwatch.pauses`.
        self.contention = contention.Contention()
        self.other_work = other_work.OtherWork()
        self._started: float | None = None
        self._to_drop = DROPPED_WINDOWS

    def step_done(self, step: int) -> None:
        """Records that a step is done; call it after every step and at the start.

        Args:
            step: number of completed steps.
        """
        if step % self.window_steps:
            return
        now = self._stopwatch.training_seconds()
        paused = self._started is not None and self._stopwatch.pauses > self._pauses
        self._pauses = self._stopwatch.pauses
        counts = self._started is not None and not self._to_drop and not paused
        if paused:
            self.paused_windows += 1
        elif counts:
            self.windows.append(self.window_steps / (now - self._started))
        elif self._started is not None:
            self._to_drop -= 1
        self.contention.interval_done(counts)
        self.other_work.interval_done(counts)
        self._started = now

    def summary(
        self,
        tokens_per_step: int,
        flops_per_step: int,
        peak_flops_per_second: float | None,
        matmul_flops_per_second: float | None = None,
        matmul_flops_per_second_after: float | None = None,
        *,
        on_host: bool = True,
    ) -> run_record.Speed:
        """Returns the speed for the run's record; medians are None without a window.

        Args:
            tokens_per_step: B (S + T), padding included.
            flops_per_step: algorithmic FLOPs of a train step.
            peak_flops_per_second: peak of all training devices together, or None.
            matmul_flops_per_second: measured rate of matrix products of all training
                devices together, or None.
            matmul_flops_per_second_after: the same, measured after the last step.
            on_host: whether the devices are the host's own cores, which other work on
                the host slows.
        """
        median = iqr = error = None
        lost = self.contention.fraction
        others = self.other_work.cores
        beside = (lost or 0) > LOST_ABOVE or (
            on_host and (others or 0) > CORES_OF_OTHERS_ABOVE
        )
        if self.windows:
            low, median, high = np.percentile(self.windows, [25, 50, 75]).tolist()
            iqr = high - low
            error = _MEDIAN_ERROR * iqr / math.sqrt(len(self.windows))

        def fraction(rate: float | None) -> float | None:
            return flops_per_step * median / rate if median and rate else None

        return run_record.Speed(
            steps_per_second_median=median,
            steps_per_second_iqr=iqr,
            steps_per_second_median_error=error,
            tokens_per_second_median=median and median * tokens_per_step,
            num_windows=len(self.windows),
            paused_windows=self.paused_windows,
            window_steps=self.window_steps,
            noisy=median is None or beside or error / median > MEDIAN_ERROR_ABOVE,
            processor_lost_to_others=lost,
            cores_used_by_others=others,
            mfu=fraction(peak_flops_per_second),
            peak_flops_per_second=peak_flops_per_second,
            fraction_of_measured_matmul=fraction(matmul_flops_per_second),
            measured_matmul_flops_per_second=matmul_flops_per_second,
            measured_matmul_flops_per_second_after=matmul_flops_per_second_after,
        )


def peak_flops_per_second(
    device_kind: str, num_devices: int, configured: float | None
) -> float | None:
    """Returns the total peak FLOPs per second of the devices, or None if unknown.

    Args:
        device_kind: `device_kind` of the JAX devices.
        num_devices: number of devices.
        configured: peak of one device given by the user, or None for the published one.
    """
    peak = configured or PEAK_FLOPS_PER_SECOND.get(device_kind)
    return peak * num_devices if peak else None
