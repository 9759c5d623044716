"""Reads run directories: `run.json` and `metrics.jsonl`, and nothing else."""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

FORMAT_VERSION = 1
STATUSES = ("running", "finished", "stopped", "failed")


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

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl in order; empty if the file does not exist yet."""
        return list(read_metrics(self.path / "metrics.jsonl"))


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """The checked contents of a run.json.

    Raises:
      RecordError: not JSON, another format, or without model, status or seed.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(record, dict):
        raise RecordError(f"{path}: holds no JSON object")
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise RecordError(
            f"{path}: format_version is {version!r}; this version reads "
            f"{FORMAT_VERSION}"
        )
    for field in ("model", "status", "seed"):
        if field not in record:
            raise RecordError(f"{path}: has no field {field!r}")
    if record["status"] not in STATUSES:
        raise RecordError(
            f"{path}: status is {record['status']!r}; accepted: {', '.join(STATUSES)}"
        )
    return record


def read_metrics(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Lines of a metrics.jsonl; a last line still being written is left out.

    Raises:
      RecordError: a line before the last is no JSON object; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise RecordError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(entry, dict):
            raise RecordError(f"{path}:{number}: holds no JSON object")
        yield entry


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
