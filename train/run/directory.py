"""Access to the files of a run directory.

- `run.json`: configuration, status, speed and results of the run (`record`);
- `metrics.jsonl`: the log (`metrics`);
- `validation_rows.npz`: the validation losses of each row (`validation_rows`);
- `lease/`: the process that is training the run (`lease`);
- `checkpoints/`: the saved states, one folder per step (`checkpoints`);
- `predictions/`: predictions for downstream tasks, one folder per step (`predictions`);
- `evaluation-*/`: predictions from `clinometer evaluate` (`evaluation_path`);
- `finetune/`: run directories of fine-tunings of this run (`finetunings_path`);
- `tensorboard/`: TensorBoard event files (`tensorboard_path`);
- `trackers/`: the ids that other trackers have for the run, and their files
  (`trackers_path`);
- `profile/`: a profiler trace, if requested (`profile_path`);
- `log.txt`, `tries.jsonl`: the output and the starts of the run's processes, which a
  study writes;
- `stop`: a request to stop, see `hosts/stop.py`.
"""

import typing
from typing import Any

from clinometer.data import paths
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train.run import lease as lease_lib
from clinometer.train.run import metrics_log
from clinometer.train.run import predictions as predictions_lib
from clinometer.train.run import record as record_lib
from clinometer.train.run import validation_rows as validation_rows_lib

if typing.TYPE_CHECKING:
    from clinometer.train.run import checkpoints as checkpoints_lib

FINETUNINGS = "finetune"


class RunDirectory:
    """The directory of one run, which need not exist yet.

    Attributes:
        path: path of the directory.
    """

    def __init__(self, path: paths.PathLike):
        """Stores the path; accesses no files."""
        self.path = paths.parse(path)

    @property
    def has_record(self) -> bool:
        """Whether there is a `run.json`."""
        return paths.is_file(self.path / record_lib.FILE_NAME)

    def record(self, *needed: str) -> record_lib.Record:
        """Returns the run's record.

        Args:
            *needed: fields that must be present, such as "data.store".

        Raises:
            RunError: there is no record, it cannot be read, or a field is invalid or
                missing; the message names the file and the field.
        """
        record = record_lib.read(self.path, *needed)
        if record is None:
            raise errors.RunError(
                f"{self.path} is not a run directory: it has no {record_lib.FILE_NAME}"
            )
        return record

    def record_or_none(self) -> record_lib.Record | None:
        """Returns the record of a run to resume, or None if there is no usable one.

        A corrupt record is renamed to `run.json.corrupt`.

        Raises:
            RunError: there is no permission to read the record.
        """
        return record_lib.read_or_set_aside(self.path)

    def write_record(self, record: record_lib.Record) -> None:
        """Writes the record atomically."""
        record_lib.write(self.path, record)

    @property
    def metrics(self) -> metrics_log.MetricsFile:
        """The run's log."""
        return metrics_log.MetricsFile(self.path / metrics_log.FILE_NAME)

    def validation_rows(self) -> validation_rows_lib.ValidationRows | None:
        """Returns the validation losses of each row; None if there are none.

        Raises:
            RunError: the file cannot be read, or its content is invalid.
        """
        return validation_rows_lib.read(self.path / validation_rows_lib.FILE_NAME)

    def write_validation_rows(self, rows: validation_rows_lib.ValidationRows) -> None:
        """Writes the validation losses of each row atomically."""
        validation_rows_lib.write(self.path / validation_rows_lib.FILE_NAME, rows)

    def lease(self) -> lease_lib.Lease:
        """Returns the lease of the run, a context manager."""
        return lease_lib.Lease(self.path)

    @property
    def checkpoints_path(self) -> paths.AnyPath:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoints(self, **options: Any) -> "checkpoints_lib.Checkpoints":
        """Opens the checkpoints.

        Args:
            **options: keyword arguments of `Checkpoints`.
        """
        # Imported here because Orbax and JAX take seconds to import.
        from clinometer.train.run import checkpoints as checkpoints_lib

        return checkpoints_lib.Checkpoints(self.checkpoints_path, **options)

    @property
    def predictions(self) -> predictions_lib.Predictions:
        """Predictions for downstream tasks made during training."""
        return predictions_lib.Predictions(self.path / "predictions")

    def evaluation_path(self, decoding: str, step: int) -> paths.AnyPath:
        """Returns the folder for the predictions of `clinometer evaluate`.

        Args:
            decoding: the decoding method.
            step: step of the checkpoint.
        """
        return self.path / f"evaluation-{decoding}-{step}"

    @property
    def finetunings_path(self) -> paths.AnyPath:
        """The folder of fine-tunings of this run."""
        return self.path / FINETUNINGS

    @property
    def tensorboard_path(self) -> paths.AnyPath:
        """The folder of TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def trackers_path(self) -> paths.AnyPath:
        """The folder of the other trackers: their ids of the run, and their files."""
        return self.path / "trackers"

    @property
    def profile_path(self) -> paths.AnyPath:
        """The folder of the profiler's trace."""
        return self.path / "profile"


def check(option: str, path: paths.PathLike) -> None:
    """Raises OptionError if a run directory cannot be created or read.

    Args:
        option: the name of the option in error messages.
        path: the path of the run directory. Whether objects can be written in a store
            shows at the first write, which is before anything is compiled.
    """
    if not paths.is_remote(path):
        outputs.check_folder(option, path)
        return
    try:
        if paths.is_file(path):
            raise OptionError(f"{option}: {path} is an object, not a folder")
    except OSError as error:
        raise OptionError(f"{option}: {path}: {error.strerror}") from error


def find(folder: paths.PathLike, depth: int | None = None) -> list[RunDirectory]:
    """Finds the run directories in a folder, including the folder itself.

    Args:
        folder: the folder to search.
        depth: maximum number of levels below the folder; None for no limit.

    Returns:
        The run directories, sorted by path.
    """
    found = paths.find(folder, record_lib.FILE_NAME, depth)
    return [RunDirectory(path.parent) for path in found]
