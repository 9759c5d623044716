"""Host-side bookkeeping of a run, called by the training loop.

It delegates to `throughput` (speed), `history` (log), `record_writer` (record) and
`display` (progress line).
"""

import dataclasses
from typing import Any

import jax

from clinometer import models
from clinometer.train import config as config_lib
from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import bystander
from clinometer.train.host import display
from clinometer.train.host import history as history_lib
from clinometer.train.host import record_writer
from clinometer.train.host import speed
from clinometer.train.host import throughput as throughput_lib
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease as lease_lib
from clinometer.train.run import validation_rows
from clinometer.train.sharding import summary
from clinometer.train.tracking import choice as tracking
from clinometer.train.tracking import tracker as tracker_lib


class Bookkeeping(bystander.Bystander):
    """Updates the log, the record, the speed and the progress line of a run.

    Attributes:
        history: the run's log.
        throughput: the run's speed.
    """

    def __init__(
        self,
        job: job_lib.Job,
        directory: run_directory.RunDirectory,
        stopwatch: speed.Stopwatch,
        lease: lease_lib.Lease,
    ):
        """Reads the earlier record of the run, if there is one; writes nothing.

        Args:
            job: the run.
            directory: the run directory.
            stopwatch: the wall clock of the process.
            lease: the lease of the run, which is checked before each write.
        """
        super().__init__(job, stopwatch)
        config = job.config
        self._directory, self._lease = directory, lease
        self._step = 0
        self._status = "running"
        self._told_pauses = 0
        self._validation_loss: float | None = None
        self._progress_line = display.ProgressLine(job.model.name, config.train_steps)
        self.history = history_lib.History(
            config,
            directory.metrics,
            job.placement.state,
            job.initial.first_step if job.initial else 0,
        )
        with stopwatch.charge("compile"):
            self._counts = job.model.count(config.data.batch_size, job.source.shape)
            self._record = record_writer.RecordWriter(job, directory, self._counts)
        self.throughput = throughput_lib.Throughput(job, self._counts, stopwatch)

    def start(self, compiles: bool) -> None:
        """Writes the record and reports that the run starts.

        Args:
            compiles: whether the train and evaluation steps are compiled next.
        """
        self.write_record("running")
        doing = "compiling the train and evaluation steps for " if compiles else ""
        self._progress_line.say(
            f"{doing}{self._counts.params_total:,} parameters; results in "
            f"{self._directory.path}"
        )

    def compiled(self, train_step: jax.stages.Compiled) -> None:
        """Says what each device holds and adds it to the record.

        Args:
            train_step: the compiled train step.
        """
        placement = self._job.placement
        self._record.mesh = dataclasses.replace(
            self._record.mesh,
            activation_bytes_per_device=summary.activation_bytes(train_step),
        )
        self._progress_line.note(f"on {summary.table(placement, train_step)}")

    def resume(
        self,
        step: int,
        progress: dict[str, Any],
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Restores the log, the timers and the speed measurements.

        Args:
            step: number of completed steps.
            progress: `progress` of the checkpoint; empty at the start of a run.
            checkpoints: the checkpoints of the run.
        """
        self._step = step
        self._record.resume(progress)
        measured = checkpoints.measured(step) if step in checkpoints.steps else None
        self.history.resume(step, measured, progress.get("step_log"))
        self._validation_loss = self.history.latest.get("validation/loss")
        self.stopwatch.add_earlier(progress.get("wall_seconds", {}))
        self.throughput.resume(progress)

    def began(self, step: int, state: state_lib.TrainState) -> None:
        """Starts the trackers, and measures what the speed is compared with.

        Args:
            step: number of completed steps.
            state: the training state, on the devices.
        """
        config = self._job.config
        self.history.trackers = tracking.start(
            config.log.trackers,
            tracker_lib.TrackedRun(
                directory=self._directory,
                config=config_lib.to_dict(config),
                git_revision=self._record.git_revision,
                start_step=step,
            ),
        )
        self.throughput.calibrate(state)
        self.throughput.meter.step_done(step)

    def step_done(
        self,
        step: int,
        values: state_lib.StepMetrics,
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Records the metrics of a completed step.

        Args:
            step: number of completed steps, this one included.
            values: the metrics of the step, on the host.
            checkpoints: the checkpoints of the run.

        Raises:
            DivergedError: the loss or the gradient is NaN or infinite.
        """
        super().step_done(step, values, checkpoints)
        self._step = step
        self.throughput.meter.step_done(step)
        if self.stopwatch.pauses > self._told_pauses:
            self._told_pauses = self.stopwatch.pauses
            self._progress_line.say(
                f"was paused before step {step} (SIGSTOP or system sleep); "
                f"{self.stopwatch.seconds['paused']:.0f} s of pauses so far are not "
                "counted as training time"
            )
        record = self.history.add(step, values)
        if record is not None:
            self.write(step, record)
        tokens = max(float(values.loss.weight_sum), 1.0)
        loss = float(values.loss.loss_sum) / tokens
        self._progress_line.update(step, loss, self._validation_loss)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Appends a record to the log, with the `wall/` fields added.

        Args:
            step: number of completed steps.
            values: the other fields of the record.

        Raises:
            RunHeldError: another process has taken over the run.
        """
        self._lease.check()
        self._validation_loss = values.get("validation/loss", self._validation_loss)
        windows = self.throughput.meter.windows
        clock = {
            "wall/seconds": round(self.stopwatch.snapshot()["total"], 3),
            "wall/steps_per_second": windows[-1] if windows else None,
        }
        self.history.write(step, {**values, **clock})

    def write_validation_rows(self, rows: validation_rows.ValidationRows) -> None:
        """Writes the validation losses of each row.

        Args:
            rows: the losses.
        """
        self._lease.check()
        self._directory.write_validation_rows(rows)

    def score(
        self, scorer: downstream.Scorer, step: int, params: Any
    ) -> dict[str, float]:
        """Scores the downstream tasks and writes the predictions.

        Args:
            scorer: scores the tasks.
            step: number of completed steps.
            params: the parameters.

        Returns:
            Metrics for the log, in percent.
        """
        result = scorer(params, self._progress_line.say)
        self._lease.check()
        scorer.write_predictions(result, self._directory.predictions.of_step(step))
        return result.flat()

    def is_best_of_a_task(self, step: int) -> bool:
        """Returns whether this step is the best of a task and should be saved.

        Args:
            step: number of completed steps.
        """
        scores = self.history.downstream()
        return (
            scores is not None
            and self._job.config.checkpoint.keep_best > 0
            and any(score.best_step == step for score in scores.tasks.values())
        )

    def save(
        self,
        checkpoints: checkpoints_lib.Checkpoints,
        step: int,
        state: state_lib.TrainState,
        measured: dict[str, float] | None,
    ) -> None:
        """Starts an asynchronous save of the state and the host's own values.

        Args:
            checkpoints: the checkpoints of the run.
            step: number of completed steps.
            state: the training state.
            measured: the metrics of an evaluation at this step, or None.
        """
        self._lease.check()
        super().save(checkpoints, step, state, measured)
        # Delete the predictions of deleted checkpoints.
        self._directory.predictions.keep((*checkpoints.steps, step))

    def write_record(self, status: str, error: str | None = None) -> None:
        """Writes the run's record.

        Args:
            status: one of `record.STATUSES`.
            error: message of the error that ended the run, or None.

        Raises:
            RunHeldError: another process has taken over the run.
        """
        self._status = status
        self._lease.check()
        self._record.write(
            status,
            error,
            step=self._step,
            devices=self.throughput.devices,
            speed=self.throughput.summary(),
            wall_seconds=self.stopwatch.snapshot(),
            latest=self.history.latest,
            scores=self.history.downstream(),
        )

    def end(self, status: str, before: bool = False) -> None:
        """Writes the record and prints how the run ended.

        Args:
            status: "finished" or "stopped".
            before: whether the run had already finished, so that nothing was done.
        """
        earlier = self._record.earlier
        told = earlier and (earlier.metrics.step, earlier.status)
        if not before or told != (self._step, status):
            self.write_record(status)
        self._progress_line.close()
        again = " earlier; nothing to do" if before else f" at step {self._step}"
        loss = "no validation loss"
        if self._validation_loss is not None:
            of_images = models.takes_images(self._job.model.name)
            unit = "image" if of_images else "token"
            loss = f"validation loss {self._validation_loss:.4f} nats per {unit}"
        more = "; run the same command to resume" if status == "stopped" else ""
        print(
            f"{self._job.model.name} {status}{again}: {loss}; results in "
            f"{self._directory.path}{more}",
            flush=True,
        )

    def close(self) -> None:
        """Closes the log, the trackers and the progress line."""
        self._progress_line.close()
        # A run that ends while it is running was ended by an error.
        self.history.close("failed" if self._status == "running" else self._status)

    def _progress(self, step: int) -> dict[str, Any]:
        """Returns the host's own values for a checkpoint."""
        if step == self._job.config.train_steps:
            self.throughput.calibrate_again()
        self.history.sync()
        return {
            "wall_seconds": self.stopwatch.snapshot(),
            "step_log": self.history.pending,
            **self.throughput.progress,
            **self._record.progress,
        }
