"""Writes the record (`run.json`) of a run."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.models import model as model_lib
from clinometer.train import config as config_lib
from clinometer.train import job as job_lib
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import environment
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.sharding import summary

_RECORDED = ("train/", "validation/", downstream.PREFIX)


class RecordWriter:
    """Writes the record, including values from earlier processes of the run.

    Attributes:
        earlier: the record written by an earlier process; None if there is no usable
            one.
        mesh: description of the mesh.
        git_revision: of the code, or None if it is not known.
    """

    def __init__(
        self,
        job: job_lib.Job,
        directory: run_directory.RunDirectory,
        counts: model_lib.Counts,
    ):
        """Reads the earlier record and describes the environment.

        Args:
            job: the run.
            directory: the run directory.
            counts: parameter and FLOP counts of the model.
        """
        self._job, self._directory, self._counts = job, directory, counts
        self._environment = environment.describe()
        self.git_revision: str | None = self._environment["git_revision"]
        self.earlier = directory.record_or_none()
        self.mesh = summary.describe(job.placement)
        began = self.earlier.started_at if self.earlier else None
        self._started_at = began or run_record.now()
        # `clinometer evaluate` adds these while no process trains the run.
        self._evaluations = self.earlier.evaluations if self.earlier else ()

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Restores values from a checkpoint if the earlier record was unusable.

        Args:
            progress: `progress` of the checkpoint; empty at the start of a run.
        """
        self._started_at = progress.get("started_at", self._started_at)
        self._evaluations = self._evaluations or tuple(
            map(run_record.Evaluation.from_json, progress.get("evaluations", ()))
        )
        if self.mesh.activation_bytes_per_device is None:  # Nothing was compiled.
            self.mesh = dataclasses.replace(
                self.mesh,
                activation_bytes_per_device=progress.get("activation_bytes_per_device"),
            )

    @property
    def progress(self) -> dict[str, Any]:
        """The values that `resume` restores, for a checkpoint."""
        return {
            "started_at": self._started_at,
            "evaluations": [each.to_json() for each in self._evaluations],
            "activation_bytes_per_device": self.mesh.activation_bytes_per_device,
        }

    def write(
        self,
        status: str,
        error: str | None,
        *,
        step: int,
        devices: int | None,
        speed: run_record.Speed,
        wall_seconds: Mapping[str, float],
        latest: Mapping[str, Any] | None,
        scores: run_record.Downstream | None,
    ) -> None:
        """Writes the record.

        Args:
            status: one of `record.STATUSES`.
            error: message of the error that ended the run, or None.
            step: number of completed steps.
            devices: number of devices that train; None if not known yet.
            speed: speed so far.
            wall_seconds: seconds so far, by category.
            latest: latest values of the log; None to keep those of the earlier record.
            scores: best scores of the downstream tasks; None if there are none.
        """
        job, config, found = self._job, self._job.config, self._environment
        if latest is not None:
            metrics = run_record.Metrics.of_values(
                {
                    name: value
                    for name, value in latest.items()
                    if name == "step" or name.startswith(_RECORDED)
                }
            )
        else:
            metrics = self.earlier.metrics if self.earlier else run_record.Metrics()
        self._directory.write_record(
            run_record.Record(
                model=job.model.name,
                kind=config.kind,
                status=status,
                error=error,
                seed=config.seed,
                config=run_record.Config.from_json(config_lib.to_dict(config)),
                git_revision=found["git_revision"],
                git_dirty=found["git_dirty"],
                versions=found["versions"],
                flags=found["flags"],
                device=run_record.Device(**found["device"], training=devices),
                mesh=self.mesh,
                numerics=found["numerics"],
                counts=run_record.Counts(**self._counts.to_dict()),
                initial=job.initial and job.initial.describe(),
                data=job.source.describe(step),
                speed=speed,
                wall_seconds=run_record.WallSeconds(**wall_seconds),
                metrics=metrics,
                downstream=scores,
                evaluations=self._evaluations,
                started_at=self._started_at,
            )
        )
