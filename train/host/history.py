"""A run's history: from the values of single steps to its log and TensorBoard."""

from collections.abc import Mapping
from collections.abc import Sequence
import logging
from typing import Any

from ml_collections import config_dict

from clinometer.train import health
from clinometer.train import state as state_lib
from clinometer.train import step_log
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import display
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record


class History:
    """Gathers steps, and appends a record where one is due.

    Attributes:
        tensorboard: where the records go, too; None for nowhere.
    """

    def __init__(
        self,
        config: config_dict.FrozenConfigDict,
        file: metrics_log.MetricsFile,
        abstract_state: state_lib.TrainState,
    ):
        """Writes nothing before `resume`."""
        self.tensorboard: display.TensorBoard | None = None
        self._config, self._file = config, file
        self._health_groups = health.groups(abstract_state.params)
        self._log: metrics_log.MetricsLog | None = None

    def resume(
        self,
        step: int,
        measured: Mapping[str, Any] | None,
        pending: Mapping[str, Any] | None,
    ) -> None:
        """Takes up the history as it was when `step` steps were done.

        Args:
            step: steps done.
            measured: by the checkpoint of this step, as it remembers.
            pending: steps since the last record, of the checkpoint.
        """
        path, config = self._file.path, self._config
        self._log = self._file.append_after(step)
        if step and not self._log.records:
            logging.warning("%s: the lines of the first %d steps are gone", path, step)
        if measured and not self._log.has(step, measured):
            logging.warning(
                "%s: what was measured at step %d is taken from the checkpoint",
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
        """The steps since the last record, for a checkpoint."""
        return self._step_log.pending

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """All records so far; none before `resume`."""
        return self._log.records if self._log else ()

    @property
    def latest(self) -> dict[str, Any] | None:
        """The newest values, without the clock's; None before `resume`."""
        return self._log.latest() if self._log else None

    def downstream(self) -> run_record.Downstream | None:
        """Returns the best scores of the downstream tasks, if there are any."""
        return downstream.best(self.records)

    def add(self, step: int, values: state_lib.StepMetrics) -> dict[str, Any] | None:
        """Adds a step; returns the record that is due, to be given to `write`."""
        return self._step_log.add(step, values)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes a record to `metrics.jsonl` and TensorBoard."""
        self._log.write(step, values)
        if self.tensorboard is not None:
            self.tensorboard.write(step, values)

    def sync(self) -> None:
        """Forces the lines to the disk, so that no checkpoint is ahead of the log."""
        self._log.sync()

    def close(self) -> None:
        """Closes the file."""
        self._log.close()
