"""Reads run directories: `run.json` and `metrics.jsonl`, and nothing else."""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

from clinometer.train import errors
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record


class RecordError(ValueError):
    """A record is missing or cannot be read; the message names the file and field."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory as read."""

    name: str  # Path below the study's folder, without a leading `runs/`.
    path: pathlib.Path
    record: Mapping[str, Any]  # run.json.

    @property
    def finished(self) -> bool:
        """Whether the run reached its last step."""
        return self.record["status"] == "finished"

    @property
    def is_finetuning(self) -> bool:
        """Whether it learned tasks, so that its loss is none of a text's."""
        return self.get("data.tasks") is not None

    def get(self, dotted: str, default: Any = None) -> Any:
        """The record's value at `a.b.c`, or default; keys may hold `/` but no dot."""
        value: Any = self.record
        for key in dotted.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value

    def require(self, *fields: str) -> None:
        """Raises RecordError, naming file and field, where one is not there."""
        try:
            run_record.require(self.record, self.path, *fields)
        except errors.RunError as error:
            raise RecordError(str(error)) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl in order; empty if the file does not exist yet."""
        return list(read_metrics(self.path / metrics_log.FILE_NAME))


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """The checked contents of a run.json.

    Raises:
      RecordError: not JSON, another format, without model, status or seed, or with a
        field of another type.
    """
    try:
        record = run_record.read(path.parent)
    except errors.RunError as error:
        raise RecordError(str(error)) from error
    if record is None:
        raise RecordError(f"{path}: no such file")
    return record


def read_metrics(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Lines of a metrics.jsonl; a last line still being written is left out.

    Raises:
      RecordError: the file cannot be read, or another line is none that a run writes;
        names file and line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    found, bad = metrics_log.parse(data)
    last = data.count(b"\n") + 1  # The line after the last end.
    for line in bad:
        if line.number != last:
            raise RecordError(
                f"{path}:{line.number}: not JSON of a run ({line.reason}); the command "
                "that trained the run sets such lines aside"
            )
    yield from found


def load_runs(directory: pathlib.Path) -> list[Run]:
    """All pretraining runs of a folder: itself, its subfolders, or those of `runs`.

    Returns:
      Runs sorted by name.

    Raises:
      RecordError: no such folder, no pretraining run in it, or a record that cannot be
        read.
    """
    if not directory.is_dir():
        raise RecordError(f"{directory}: no such folder")
    found = sorted(
        {
            path
            for pattern in ("run.json", "*/run.json", "*/*/run.json")
            for path in directory.glob(pattern)
        }
    )
    if not found:
        raise RecordError(
            f"{directory}: no run in it; looked for run.json here and one or two "
            "folders below"
        )
    runs = []
    for path in found:
        relative = path.parent.relative_to(directory).as_posix()
        name = relative.removeprefix("runs/") if relative != "." else "run"
        runs.append(Run(name, path.parent, read_record(path)))
    pretrained = [run for run in runs if not run.is_finetuning]
    if not pretrained:
        raise RecordError(
            f"{directory}: holds fine-tunings only; give the folder of the pretrained "
            "runs, whose report shows theirs too"
        )
    return sorted(pretrained, key=lambda run: run.name)
