"""The host's side of a run: its logs, clocks, record and words."""

import logging
import pathlib
import shutil
from typing import Any

from clinometer.kernels.bench import matmul_rate
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import health
from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train import step_log
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import display
from clinometer.train.host import environment
from clinometer.train.host import speed
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record

_RECORDED = ("train/", "validation/", downstream.PREFIX)


class Run:
    """The host's side of a run: logs, clocks and the record."""

    def __init__(
        self,
        job: job_lib.Job,
        workdir: pathlib.Path,
        stopwatch: speed.Stopwatch,
        abstract_state: state_lib.TrainState,
    ):
        config = job.config
        self.stopwatch = stopwatch
        self.abstract_state = abstract_state
        self.tensorboard: display.TensorBoard | None = None
        self._job, self._workdir = job, workdir
        self._log: metrics_log.MetricsLog | None = None
        self._step = 0
        self._told_pauses = 0
        self._validation_loss: float | None = None
        self._progress_line = display.ProgressLine(job.model.name, config.train_steps)
        self.meter = speed.SpeedMeter(
            stopwatch, speed.window_length(config.train_steps, config.log.every_steps)
        )
        with stopwatch.charge("compile"):
            counts = job.model.count(config.data.batch_size, job.source.shape)
            self._counts = counts.to_dict()
            self._environment = environment.describe()
            self._environment["device"]["training"] = None  # until there is a state
            self._matmul_flops_per_second: float | None = None  # of one device
            self._earlier = run_record.read_or_set_aside(workdir)
        self._started_at = self._earlier.get("started_at", run_record.now())
        self._evaluations = self._earlier.get("evaluations", [])

    def start(self) -> None:
        """Says what is going on until the first step is done."""
        self.write_record("running")
        size = self._counts["params_total"]
        self._progress_line.say(
            f"compiling the train step and the evaluation of {size:,} parameters; "
            f"results in {self._workdir}"
        )

    def resume(
        self,
        step: int,
        progress: dict[str, Any],
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Takes up the logs and clocks as they were when `step` steps were done."""
        config = self._job.config
        self._step = step
        # What a lost or broken run.json said.
        self._started_at = progress.get("started_at", self._started_at)
        self._evaluations = self._evaluations or progress.get("evaluations", [])
        path = self._workdir / metrics_log.FILE_NAME
        self._log = metrics_log.MetricsLog(path, step)
        if step and not self._log.records:
            logging.warning("%s: the lines of the first %d steps are gone", path, step)
        measured = checkpoints.measured(step) if step else None
        if measured and not self._log.has(step, measured):
            logging.warning(
                "%s: what was measured at step %d is taken from the checkpoint",
                path,
                step,
            )
            self._log.write(step, measured)
        self._validation_loss = self._log.latest().get("validation/loss")
        self.stopwatch.add_earlier(progress.get("wall_seconds", {}))
        self.meter.windows.extend(progress.get("speed_windows", ()))
        self.meter.contention.add_earlier(progress.get("contention", {}))
        self.meter.paused_windows += progress.get("paused_windows", 0)
        self._environment["device"]["training"] = progress.get("devices")
        self._matmul_flops_per_second = progress.get("matmul_flops_per_second")
        self._step_log = step_log.StepLog(
            every_steps=config.log.every_steps,
            last_step=config.train_steps,
            health_every_steps=config.log.health_every_steps,
            health_groups=health.groups(self.abstract_state.params),
            spike_window=config.log.spike_window,
            spike_threshold=config.log.spike_threshold,
            losses=self._log.history("train/loss"),
            pending=progress.get("step_log"),
        )

    def calibrate(self, state: state_lib.TrainState) -> None:
        """Counts the devices that train; measures their rate of matrix products."""
        self._environment["device"]["training"] = state_lib.num_devices(state)
        with self.stopwatch.charge("calibration"):
            dtype = self._job.model.config.dtype
            self._matmul_flops_per_second = matmul_rate.measure(dtype)

    def step_done(
        self,
        step: int,
        values: state_lib.StepMetrics,
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Takes note of a step's values; raises RunError if they are not finite."""
        problem = step_log.nonfinite(values)
        if problem is not None:
            first_row = (step - 1) * self._job.config.data.batch_size
            self.refuse(
                checkpoints,
                f"step {step}: {problem}; batch index {step - 1} (examples from "
                f"{first_row})",
            )
        self._step = step
        self.meter.step_done(step)
        if self.stopwatch.pauses > self._told_pauses:
            self._told_pauses = self.stopwatch.pauses
            self._progress_line.say(
                f"stood still before step {step} (SIGSTOP, or the machine slept): "
                f"{self.stopwatch.seconds['paused']:.0f} s so far are no training time"
            )
        record = self._step_log.add(step, values)
        if record is not None:
            self.write(step, record)
        tokens = max(float(values.loss.weight_sum), 1.0)
        loss = float(values.loss.loss_sum) / tokens
        self._progress_line.update(step, loss, self._validation_loss)

    def refuse(self, checkpoints: checkpoints_lib.Checkpoints, problem: str) -> None:
        """Raises RunError of values that are not finite."""
        checkpoints.wait()
        good = checkpoints.steps[-1] if checkpoints.steps else "none"
        raise errors.RunError(
            f"{problem}. Last good checkpoint: {good}; nothing later was saved"
        )

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Writes a record to `metrics.jsonl` and TensorBoard."""
        self._validation_loss = values.get("validation/loss", self._validation_loss)
        windows = self.meter.windows
        clock = {
            "wall/seconds": round(self.stopwatch.snapshot()["total"], 3),
            "wall/steps_per_second": windows[-1] if windows else None,
        }
        self._log.write(step, {**values, **clock})
        if self.tensorboard is not None:
            self.tensorboard.write(step, {**values, **clock})

    def score(
        self, scorer: downstream.Scorer, step: int, params: Any
    ) -> dict[str, float]:
        """Scores the downstream tasks; writes the predictions of this step."""
        result = scorer(params, self._progress_line.say)
        folder = self._workdir / downstream.PREDICTIONS / str(step)
        scorer.write_predictions(result, folder)
        return result.flat()

    def is_best_of_a_task(self, step: int) -> bool:
        """Whether a task had its best score at this step, so that it is to be kept."""
        found = downstream.best(self._log.records) or {"tasks": {}}
        kept = self._job.config.checkpoint.keep_best > 0
        return kept and any(
            entry["best_step"] == step for entry in found["tasks"].values()
        )

    def save(
        self,
        checkpoints: checkpoints_lib.Checkpoints,
        step: int,
        state: state_lib.TrainState,
        measured: dict[str, float] | None,
    ) -> None:
        """Starts a checkpoint that holds the host's values too."""
        self._log.sync()
        checkpoints.save(
            step,
            state,
            identity=self._job.identity,
            progress={
                "wall_seconds": self.stopwatch.snapshot(),
                "speed_windows": self.meter.windows,
                "contention": self.meter.contention.sums,
                "devices": self._environment["device"]["training"],
                "matmul_flops_per_second": self._matmul_flops_per_second,
                "step_log": self._step_log.pending,
                "paused_windows": self.meter.paused_windows,
                "started_at": self._started_at,
                "evaluations": self._evaluations,
            },
            metrics=measured,
        )
        # Those of checkpoints that are gone say little, and take room. What has not the
        # name of a step is somebody else's.
        kept = {str(kept) for kept in (*checkpoints.steps, step)}
        for folder in (self._workdir / downstream.PREDICTIONS).glob("[0-9]*"):
            if folder.name not in kept and str.isdecimal(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def write_record(self, status: str, error: str | None = None) -> None:
        """Writes `run.json`."""
        job, config, device = self._job, self._job.config, self._environment["device"]
        num_devices = device["training"] or 1
        matmul = self._matmul_flops_per_second
        latest = self._log.latest() if self._log else self._earlier.get("metrics", {})
        run_record.write(
            self._workdir,
            {
                "format_version": run_record.FORMAT_VERSION,
                "model": job.model.name,
                "status": status,
                "error": error,
                "seed": config.seed,
                "config": config_lib.to_dict(config),
                **self._environment,
                "counts": self._counts,
                "initial": job.initial and job.initial.describe(),
                "data": job.source.describe(self._step),
                "speed": self.meter.summary(
                    config.data.batch_size * job.source.tokens_per_row,
                    self._counts["flops_train_step"],
                    speed.peak_flops_per_second(
                        device["kind"],
                        num_devices,
                        config.log.peak_flops_per_second,
                    ),
                    matmul and num_devices * matmul,
                ),
                "wall_seconds": self.stopwatch.snapshot(),
                "metrics": {
                    name: value
                    for name, value in latest.items()
                    if name == "step" or name.startswith(_RECORDED)
                },
                "downstream": downstream.best(self._log.records if self._log else ()),
                "evaluations": self._evaluations,  # of `clinometer evaluate`
                "started_at": self._started_at,
            },
        )

    def end(self, status: str, before: bool = False) -> None:
        """Writes the record and says how the run ended.

        Args:
            status: "finished" or "stopped".
            before: it was finished already, so that nothing was done.
        """
        told = self._earlier.get("metrics", {}).get("step"), self._earlier.get("status")
        if not before or told != (self._step, status):
            self.write_record(status)
        self._progress_line.close()
        again = " before; nothing to do" if before else f" at step {self._step}"
        loss = "no validation loss"
        if self._validation_loss is not None:
            loss = f"validation loss {self._validation_loss:.4f} nats per token"
        more = "; the same command goes on" if status == "stopped" else ""
        print(
            f"{self._job.model.name} {status}{again}: {loss}; results in "
            f"{self._workdir}{more}",
            flush=True,
        )

    def close(self) -> None:
        """Closes the log and the progress line."""
        self._progress_line.close()
        self._log.close()
