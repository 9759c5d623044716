"""Writes the metrics of a run to `metrics.jsonl` and its trackers."""

from collections.abc import Mapping
from collections.abc import Sequence
import logging
from typing import Any

from ml_collections import config_dict

from clinometer.train import health
from clinometer.train import state as state_lib
from clinometer.train import step_log
from clinometer.train.downstream import scorer as downstream
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record
from clinometer.train.tracking import tracker as tracker_lib


class History:
    """Aggregates step metrics and appends records to the log.

    Attributes:
        trackers: also receive the records; none before the first step.
    """

    def __init__(
        self,
        config: config_dict.FrozenConfigDict,
        file: metrics_log.MetricsFile,
        abstract_state: state_lib.TrainState,
        first_step: int = 0,
    ):
        """Prepares the log; `resume` opens it.

        Args:
            config: the configuration of the run.
            file: the file of the log.
            abstract_state: shapes and dtypes of the training state.
            first_step: step at which the run starts, after 0 for a branch.
        """
        self.trackers: Sequence[tracker_lib.Tracker] = ()
        self._config, self._file, self._first_step = config, file, first_step
        self._health_groups = health.groups(abstract_state.params)
        self._log: metrics_log.MetricsLog | None = None

    def resume(
        self,
        step: int,
        measured: Mapping[str, Any] | None,
        pending: Mapping[str, Any] | None,
    ) -> None:
        """Opens the log and removes the records after `step`.

        Args:
            step: number of completed steps.
            measured: metrics of the evaluation at this step, from the checkpoint; None
                if it has none.
            pending: `pending` when the checkpoint was saved; None for none.
        """
        path, config = self._file.path, self._config
        self._log = self._file.append_after(step)
        if step > self._first_step and not self._log.records:
            logging.warning(
                "%s: the records of the first %d steps are missing",
                path,
                step - self._first_step,
            )
        if measured and not self._log.has(step, measured):
            logging.warning(
                "%s: the evaluation at step %d is restored from the checkpoint",
                path,
                step,
            )
            self._log.write(step, measured)
        self._step_log = step_log.StepLog(
            every_steps=config.log.every_steps,
            last_step=config.train_steps,
            health_every_steps=config.log.health_every_steps,
            health_groups=self._health_groups,
            spike_window=config.log.spike_window,
            spike_threshold=config.log.spike_threshold,
            losses=self._log.history("train/loss"),
            pending=pending,
        )

    @property
    def pending(self) -> dict[str, Any]:
        """Sums over the steps since the last record, for a checkpoint."""
        return self._step_log.pending

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """All records so far; none before `resume`."""
        return self._log.records if self._log else ()

    @property
    def latest(self) -> dict[str, Any] | None:
        """The latest value of every field outside `wall/`; None before `resume`."""
        return self._log.latest() if self._log else None

    def downstream(self) -> run_record.Downstream | None:
        """Returns the best scores of the downstream tasks; None if there are none."""
        return downstream.best(self.records)

    def add(self, step: int, values: state_lib.StepMetrics) -> dict[str, Any] | None:
        """Adds the metrics of one step.

        Args:
            step: number of completed steps, this one included.
            values: the metrics of the step, on the host.

        Returns:
            The record to pass to `write`, or None if none is due.
        """
        return self._step_log.add(step, values)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes a record to `metrics.jsonl` and the trackers.

        Args:
            step: number of completed steps.
            values: the fields of the record.
        """
        self._log.write(step, values)
        if self.trackers:
            scalars = tracker_lib.flat(values)
            for tracker in self.trackers:
                tracker.scalars(step, scalars)

    def sync(self) -> None:
        """Flushes the log to disk, so that no checkpoint is ahead of it."""
        self._log.sync()
        for tracker in self.trackers:
            tracker.sync()

    def close(self, status: str) -> None:
        """Closes the log and ends the trackers.

        Args:
            status: how the run ended; see `Tracker.finish`.
        """
        self._log.close()
        for tracker in self.trackers:
            tracker.finish(status)
