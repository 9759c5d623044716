"""The run's history: `metrics.jsonl`, one JSON object a line, appended to.

Every field is a function of the step alone, except those under `wall/`, which say
what the clock said. So a run that was cut off and resumed writes the same lines.
"""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

WALL_PREFIX = "wall/"


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the records of a log; a last line cut off by a crash is left out."""
    records = []
    path = pathlib.Path(path)
    if not path.exists():
        return records
    for line in path.read_bytes().split(b"\n")[:-1]:  # A whole line ends in \n.
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def without_wall(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that must be equal in every run of the same configuration."""
    return {k: v for k, v in record.items() if not k.startswith(WALL_PREFIX)}


class MetricsLog:
    """Appends records to `metrics.jsonl` and remembers them.

    Attributes:
        records: all records so far, those of earlier processes included.
    """

    def __init__(self, path: str | os.PathLike[str], resume_step: int):
        """Opens the log, dropping what an earlier process wrote after `resume_step`."""
        self._path = pathlib.Path(path)
        self.records = [r for r in read(self._path) if r["step"] <= resume_step]
        temporary = self._path.with_name(self._path.name + ".tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(_line(record) for record in self.records)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one record; floats keep every digit."""
        record = {"step": step, **values}
        self._file.write(_line(record))
        self._file.flush()
        self.records.append(record)

    def sync(self) -> None:
        """Forces the lines to the disk, so that no checkpoint is ahead of the log."""
        os.fsync(self._file.fileno())

    def history(self, name: str) -> list[float]:
        """Returns all values of a field, oldest first."""
        return [record[name] for record in self.records if name in record]

    def latest(self) -> dict[str, Any]:
        """Returns the last value of every field, the clock's left out."""
        merged: dict[str, Any] = {}
        for record in self.records:
            merged.update(without_wall(record))
        return merged

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
