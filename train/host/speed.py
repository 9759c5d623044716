"""Where the wall time of a run went, and how fast its steps were."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import time
from typing import Any

import numpy as np

from clinometer.train.host import contention
from clinometer.train.host import pauses as pauses_lib
from clinometer.train.run import record as run_record

# What the clock is charged to; `compile` is all set-up but `calibration`, which is how
# the rate of matrix products is measured.
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
# Not training: taken out of the windows.
_EXCLUDED = ("compile", "calibration", "evaluation", "checkpoint", "paused")

DROPPED_WINDOWS = 2
MIN_WINDOWS = 20
# A run whose windows scatter more than this, IQR / median, is no base for a fit; nor is
# one that lost more than this part of its processor time to other processes.
NOISY_ABOVE = 0.1

# Peak FLOPs/s of dense bfloat16 matrix products per JAX device, by the device's kind.
# TPU: Google Cloud's system architecture pages, per chip (v2 and v3 have two devices
# a chip). GPU: NVIDIA's data sheets, SXM form, without sparsity.
PEAK_FLOPS_PER_SECOND = {
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
}


class Stopwatch:
    """Charges every moment of the wall clock to exactly one category.

    Attributes:
        seconds: seconds by category, those of earlier processes included.
        pauses: how often the process stood still, of which `paused` has the time.
    """

    def __init__(
        self,
        clock: Any = time.perf_counter,
        pause_watch: pauses_lib.PauseWatch | None = None,
    ):
        """Starts, charging to `other` until a `charge` context is entered."""
        self._clock = clock
        self._pause_watch = pause_watch
        self._paused = 0.0  # As the watch had it.
        self.pauses = 0
        self._last = clock()
        self._stack = ["other"]
        self.seconds = dict.fromkeys(CATEGORIES, 0.0)

    def add_earlier(self, seconds: Mapping[str, float]) -> None:
        """Adds the time of the processes before this one."""
        for category in CATEGORIES:
            self.seconds[category] += seconds.get(category, 0.0)

    @contextlib.contextmanager
    def charge(self, category: str) -> Iterator[None]:
        """Charges the time inside to `category`; an inner context has precedence."""
        self._settle()
        self._stack.append(category)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def training_seconds(self) -> float:
        """Seconds so far outside set-up, evaluation and checkpoints."""
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
            # The clock may stand still while the machine sleeps.
            paused = min(self._pause_watch.seconds - self._paused, elapsed)
            self._paused = self._pause_watch.seconds
            self.pauses = self._pause_watch.count
        self.seconds["paused"] += paused
        self.seconds[self._stack[-1]] += elapsed - paused


def window_length(train_steps: int, log_every_steps: int) -> int:
    """Returns the steps of a window.

    At least 20 windows count, and none is longer than the log's cadence. A run
    of fewer than 44 steps has windows of one step.
    """
    longest = train_steps // (MIN_WINDOWS + DROPPED_WINDOWS)
    return max(1, min(longest, log_every_steps))


class SpeedMeter:
    """Steps per second over windows of steps [k W, (k + 1) W).

    A window ends when the values of its last step have reached the host, which they do
    after the next step was dispatched: a device sync that leaves the device no gap.

    Attributes:
        window_steps: W.
        windows: steps/s of every window that counts, earlier processes included.
        paused_windows: windows left out, since the process stood still in them.
        contention: what other processes took of the cores in those windows.
    """

    def __init__(self, stopwatch: Stopwatch, window_steps: int):
        """Starts without a window."""
        self._stopwatch = stopwatch
        self.window_steps = window_steps
        self.windows: list[float] = []
        self.paused_windows = 0
        self._pauses = 0  # As the stopwatch had them.
        self.contention = contention.Contention()
        self._started: float | None = None
        self._to_drop = DROPPED_WINDOWS

    def step_done(self, step: int) -> None:
        """Notes that `step` steps are done; call it in every step, and at the start."""
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
        self._started = now

    def summary(
        self,
        tokens_per_step: int,
        flops_per_step: int,
        peak_flops_per_second: float | None,
        matmul_flops_per_second: float | None = None,
    ) -> run_record.Speed:
        """Returns the record's speed; the medians are None without a window.

        Args:
            tokens_per_step: B (S + T), padding included.
            flops_per_step: algorithmic FLOPs of a train step.
            peak_flops_per_second: of all devices that train together, or None.
            matmul_flops_per_second: likewise, what was measured of matrix products.
        """
        median = iqr = None
        shared = self.contention.fraction
        if self.windows:
            low, median, high = np.percentile(self.windows, [25, 50, 75]).tolist()
            iqr = high - low

        def fraction(rate: float | None) -> float | None:
            return flops_per_step * median / rate if median and rate else None

        return run_record.Speed(
            steps_per_second_median=median,
            steps_per_second_iqr=iqr,
            tokens_per_second_median=median and median * tokens_per_step,
            num_windows=len(self.windows),
            paused_windows=self.paused_windows,
            window_steps=self.window_steps,
            noisy=median is None or max(iqr / median, shared or 0) > NOISY_ABOVE,
            processor_lost_to_others=shared,
            mfu=fraction(peak_flops_per_second),
            peak_flops_per_second=peak_flops_per_second,
            fraction_of_measured_matmul=fraction(matmul_flops_per_second),
            measured_matmul_flops_per_second=matmul_flops_per_second,
        )


def peak_flops_per_second(
    device_kind: str, num_devices: int, configured: float | None
) -> float | None:
    """Returns the peak of all devices: configured per device, else known, else None."""
    peak = configured or PEAK_FLOPS_PER_SECOND.get(device_kind)
    return peak * num_devices if peak else None
