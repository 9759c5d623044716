"""A run directory: what lies where in it, each part read and written by its type.

- `run.json`: what the run is, how fast, how it ended (`record`);
- `metrics.jsonl`: its history (`metrics`);
- `lease.json`: which process trains it (`lease`);
- `checkpoints/`: its states (`checkpoints`);
- `predictions/`: of downstream tasks, a folder a step (`predictions`);
- `evaluation-*/`: likewise, of `clinometer evaluate` (`evaluation_path`);
- `finetune/`: fine-tunings of it, which are run directories themselves;
- `tensorboard/`: events for TensorBoard;
- `profile/`: a trace of some steps, where one was asked for.
"""

import os
import pathlib
import typing
from typing import Any

from clinometer.train import errors
from clinometer.train.run import lease as lease_lib
from clinometer.train.run import metrics_log
from clinometer.train.run import predictions as predictions_lib
from clinometer.train.run import record as record_lib

if typing.TYPE_CHECKING:
    from clinometer.train.run import checkpoints as checkpoints_lib


class RunDirectory:
    """The directory of one run, which may not exist yet.

    Attributes:
        path: of the directory.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Touches nothing."""
        self.path = pathlib.Path(path)

    @property
    def has_record(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / record_lib.FILE_NAME).is_file()

    def record(self, *needed: str) -> record_lib.Record:
        """Returns the run's record.

        Args:
            *needed: fields that must be there, such as `data.store`.

        Raises:
            RunError: there is none, it cannot be read, a field is not what a run
                writes, or one that is needed is missing; names the file and the field.
        """
        record = record_lib.read(self.path, *needed)
        if record is None:
            raise errors.RunError(
                f"{self.path} is not a run directory: it has no {record_lib.FILE_NAME}"
            )
        return record

    def record_or_none(self) -> record_lib.Record | None:
        """Returns the record of a run that goes on; sets a broken one aside.

        Raises:
            RunError: it may not be read.
        """
        return record_lib.read_or_set_aside(self.path)

    def write_record(self, record: record_lib.Record) -> None:
        """Writes the record by rename."""
        record_lib.write(self.path, record)

    @property
    def metrics(self) -> metrics_log.MetricsFile:
        """The run's history."""
        return metrics_log.MetricsFile(self.path / metrics_log.FILE_NAME)

    def lease(self) -> lease_lib.Lease:
        """Returns the lease of the run, to be entered."""
        return lease_lib.Lease(self.path)

    @property
    def checkpoints_path(self) -> pathlib.Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoints(self, **options: Any) -> "checkpoints_lib.Checkpoints":
        """Opens the checkpoints; `options` are those of `Checkpoints`."""
        # Imported late: Orbax and JAX take seconds, which a report does without.
        from clinometer.train.run import checkpoints as checkpoints_lib

        return checkpoints_lib.Checkpoints(self.checkpoints_path, **options)

    @property
    def predictions(self) -> predictions_lib.Predictions:
        """Predictions of downstream tasks while the run trained."""
        return predictions_lib.Predictions(self.path / "predictions")

    def evaluation_path(self, decoding: str, step: int) -> pathlib.Path:
        """The folder of the predictions of `clinometer evaluate`."""
        return self.path / f"evaluation-{decoding}-{step}"

    @property
    def finetunings_path(self) -> pathlib.Path:
        """The folder of the fine-tunings of this run."""
        return self.path / "finetune"

    @property
    def tensorboard_path(self) -> pathlib.Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def profile_path(self) -> pathlib.Path:
        """The folder of the profiler's trace."""
        return self.path / "profile"


def find(folder: pathlib.Path, depth: int | None = None) -> list[RunDirectory]:
    """Returns the run directories below a folder, the folder itself included.

    Args:
        folder: where to look.
        depth: how many levels below; None for all.

    Returns:
        In the order of their records' paths.
    """
    name = record_lib.FILE_NAME
    if depth is None:
        patterns = [f"**/{name}"]
    else:
        patterns = ["*/" * levels + name for levels in range(depth + 1)]
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return [RunDirectory(path.parent) for path in found]
