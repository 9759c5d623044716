"""Measures the throughput of a run and relates it to the speed of its devices."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax

from clinometer.kernels.bench import matmul_rate
from clinometer.models import model as model_lib
from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train.host import speed
from clinometer.train.run import record as run_record


class Throughput:
    """The speed of a run, with the number and matmul rate of its devices.

    Attributes:
        meter: measures the steps per second.
        devices: number of devices that train; None until there is a state.
    """

    def __init__(
        self, job: job_lib.Job, counts: model_lib.Counts, stopwatch: speed.Stopwatch
    ):
        """Starts without measurements.

        Args:
            job: the run.
            counts: parameter and FLOP counts of the model.
            stopwatch: the wall clock of the process.
        """
        config = job.config
        self._job, self._counts, self._stopwatch = job, counts, stopwatch
        self.meter = speed.SpeedMeter(
            stopwatch, speed.window_length(config.train_steps, config.log.every_steps)
        )
        self.devices: int | None = None
        # Of one device, before and after the run.
        self._matmul_flops_per_second: float | None = None
        self._matmul_after: float | None = None

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Restores the measurements of earlier processes of the run.

        Args:
            progress: `progress` of the checkpoint; empty at the start of a run.
        """
        self.meter.windows.extend(progress.get("speed_windows", ()))
        self.meter.contention.add_earlier(progress.get("contention", {}))
        self.meter.other_work.add_earlier(progress.get("other_work", {}))
        self.meter.paused_windows += progress.get("paused_windows", 0)
        self.devices = progress.get("devices")
        self._matmul_flops_per_second = progress.get("matmul_flops_per_second")
        self._matmul_after = progress.get("matmul_flops_per_second_after")

    @property
    def progress(self) -> dict[str, Any]:
        """The values that `resume` restores, for a checkpoint."""
        return {
            "speed_windows": self.meter.windows,
            "contention": self.meter.contention.sums,
            "other_work": self.meter.other_work.sums,
            "paused_windows": self.meter.paused_windows,
            "devices": self.devices,
            "matmul_flops_per_second": self._matmul_flops_per_second,
            "matmul_flops_per_second_after": self._matmul_after,
        }

    def calibrate(self, state: state_lib.TrainState) -> None:
        """Counts the devices that train and measures their rate of matrix products.

        Args:
            state: the training state, on the devices.
        """
        self.devices = state_lib.num_devices(state)
        self._matmul_after = None  # Of an earlier end, if the run goes on.
        with self._stopwatch.charge("calibration"):
            dtype = self._job.model.config.dtype
            self._matmul_flops_per_second = matmul_rate.measure(dtype)

    def calibrate_again(self) -> None:
        """Measures the rate of matrix products after the last step, once."""
        if self._matmul_after is not None:
            return
        with self._stopwatch.charge("calibration"):
            dtype = self._job.model.config.dtype
            self._matmul_after = matmul_rate.measure(dtype)

    def summary(self) -> run_record.Speed:
        """Returns the speed for the run's record."""
        config, source = self._job.config, self._job.source
        devices = self.devices or 1
        before, after = self._matmul_flops_per_second, self._matmul_after
        device = jax.devices()[0]
        found = self.meter.summary(
            config.data.batch_size * source.tokens_per_row,
            self._counts.flops_train_step,
            speed.peak_flops_per_second(
                device.device_kind, devices, config.log.peak_flops_per_second
            ),
            before and devices * before,
            after and devices * after,
            on_host=device.platform == "cpu",
        )
        rate = found.steps_per_second_median
        rows = rate and rate * config.data.batch_size
        return dataclasses.replace(found, rows_per_second_median=rows)
