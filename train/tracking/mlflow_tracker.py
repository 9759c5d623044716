"""Sends the metrics of a run to MLflow.

MLflow's own environment variables say where to: MLFLOW_TRACKING_URI, such as the
address of a server, and MLFLOW_EXPERIMENT_NAME.
"""

from collections.abc import Mapping
import os
import time

import mlflow
from mlflow import entities

from clinometer.train import config as config_lib
from clinometer.train.tracking import kept_id
from clinometer.train.tracking import tracker as tracker_lib

NAME = "mlflow"

_STATUSES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
# MLflow's limits for one call.
_MOST_METRICS = 1000
_MOST_PARAMS = 100


class MLflow:
    """A run of MLflow, which a resumed run of ours continues."""

    def __init__(self, run: tracker_lib.TrackedRun):
        """Starts a run of MLflow, or continues the one whose id the directory has.

        Args:
            run: the run.
        """
        self._client = mlflow.MlflowClient()
        identifier = kept_id.read(run.directory, NAME)
        # Metric -> last step that MLflow has; asked for when a metric first comes.
        self._last_steps: dict[str, int] = {}
        self._continues = identifier is not None
        if identifier is not None:
            self._id = identifier
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(
            self._experiment(),
            run_name=run.name,
            tags={"mlflow.source.git.commit": run.git_revision}
            if run.git_revision
            else None,
        )
        self._id = made.info.run_id
        kept_id.write(run.directory, NAME, self._id)
        params = [
            entities.Param(name, str(value))
            for name, value in config_lib.flatten(dict(run.config)).items()
        ]
        for at in range(0, len(params), _MOST_PARAMS):
            part = params[at : at + _MOST_PARAMS]
            self._client.log_batch(self._id, params=part)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`.

        MLflow would keep the values that a resumed run repeats a second time.
        """
        now = int(time.time() * 1000)
        metrics = [
            entities.Metric(name, value, now, step)
            for name, value in values.items()
            if step > self._last_step(name)
        ]
        for at in range(0, len(metrics), _MOST_METRICS):
            part = metrics[at : at + _MOST_METRICS]
            self._client.log_batch(self._id, metrics=part)

    def sync(self) -> None:
        """See `Tracker.sync`; each record has been sent."""

    def finish(self, status: str) -> None:
        """See `Tracker.finish`."""
        self._client.set_terminated(self._id, status=_STATUSES[status])

    def _last_step(self, name: str) -> int:
        if not self._continues:
            return -1
        if name not in self._last_steps:
            history = self._client.get_metric_history(self._id, name)
            self._last_steps[name] = max((each.step for each in history), default=-1)
        return self._last_steps[name]

    def _experiment(self) -> str:
        """Returns the id of the experiment, which is created if there is none."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "clinometer")
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        return self._client.create_experiment(name)
