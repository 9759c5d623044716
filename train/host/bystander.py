"""The bookkeeping of a process that writes nothing, as all but process 0 do."""

from typing import Any

import jax

from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train import step_log
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import speed
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import validation_rows


class Bystander:
    """Takes part in what all processes do; `Bookkeeping` extends it by what one does.

    Attributes:
        stopwatch: the wall clock of the process, by category.
    """

    def __init__(self, job: job_lib.Job, stopwatch: speed.Stopwatch):
        """Stores its parts.

        Args:
            job: the run.
            stopwatch: the wall clock of the process.
        """
        self._job, self.stopwatch = job, stopwatch

    def start(self, compiles: bool) -> None:
        """Reports that the run starts.

        Args:
            compiles: whether the train and evaluation steps are compiled next.
        """

    def compiled(self, train_step: jax.stages.Compiled) -> None:
        """Says what each device holds.

        Args:
            train_step: the compiled train step.
        """

    def resume(
        self,
        step: int,
        progress: dict[str, Any],
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Restores the host's own values.

        Args:
            step: number of completed steps.
            progress: `progress` of the checkpoint; empty at the start of a run.
            checkpoints: the checkpoints of the run.
        """

    def began(self, step: int, state: state_lib.TrainState) -> None:
        """Starts the trackers, and measures what the speed is compared with.

        Args:
            step: number of completed steps.
            state: the training state, on the devices.
        """

    def step_done(
        self,
        step: int,
        values: state_lib.StepMetrics,
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Looks at the metrics of a completed step.

        Args:
            step: number of completed steps, this one included.
            values: the metrics of the step, on the host.
            checkpoints: the checkpoints of the run.

        Raises:
            DivergedError: the loss or the gradient is NaN or infinite.
        """
        problem = step_log.nonfinite(values)
        if problem is not None:
            first_row = (step - 1) * self._job.config.data.batch_size
            self.refuse(
                checkpoints,
                f"step {step}: {problem}; batch index {step - 1} (starting at example "
                f"{first_row})",
            )

    def refuse(self, checkpoints: checkpoints_lib.Checkpoints, problem: str) -> None:
        """Ends the run because of a value that is NaN or infinite.

        Args:
            checkpoints: the checkpoints of the run; a save in flight is completed.
            problem: description of the value, for the message.

        Raises:
            DivergedError: always.
        """
        checkpoints.wait()
        good = checkpoints.steps[-1] if checkpoints.steps else "none"
        raise errors.DivergedError(
            f"{problem}. Last good checkpoint: {good}; no later one was saved"
        )

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Appends a record to the log.

        Args:
            step: number of completed steps.
            values: the fields of the record.
        """

    def write_validation_rows(self, rows: validation_rows.ValidationRows) -> None:
        """Writes the validation losses of each row.

        Args:
            rows: the losses.
        """

    def score(
        self, scorer: downstream.Scorer, step: int, params: Any
    ) -> dict[str, float]:
        """Scores the downstream tasks.

        Args:
            scorer: scores the tasks.
            step: number of completed steps.
            params: the parameters.

        Returns:
            Metrics for the log, in percent.
        """
        return scorer(params).flat()

    def is_best_of_a_task(self, step: int) -> bool:
        """Returns whether this step is the best of a task, as far as is known here.

        Args:
            step: number of completed steps.
        """
        return False

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
        checkpoints.save(
            step,
            state,
            identity=self._job.identity,
            progress=self._progress(step),
            metrics=measured,
        )

    def write_record(self, status: str, error: str | None = None) -> None:
        """Writes the run's record.

        Args:
            status: one of `record.STATUSES`.
            error: message of the error that ended the run, or None.
        """

    def end(self, status: str, before: bool = False) -> None:
        """Writes the record and prints how the run ended.

        Args:
            status: "finished" or "stopped".
            before: whether the run had already finished, so that nothing was done.
        """

    def close(self) -> None:
        """Closes the log and the progress line."""

    def _progress(self, step: int) -> dict[str, Any]:
        """Returns the host's own values for a checkpoint; process 0's are saved."""
        return {}
