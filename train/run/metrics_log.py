"""The log of a run, `metrics.jsonl`: one JSON object per line.

All fields except those under `wall/` depend only on the step, so that a run which was
interrupted and resumed writes the same lines as an uninterrupted one.
"""

import bisect
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import logging
from typing import Any

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.train import errors
from clinometer.train.run import appended_file
from clinometer.train.run import json_file

FILE_NAME = "metrics.jsonl"
WALL_PREFIX = "wall/"

_END_BYTES = 16384


@dataclasses.dataclass(frozen=True)
class BadLine:
    """An invalid line of a log.

    Attributes:
        number: 1-based line number.
        text: content of the line, without the newline.
        reason: description of the problem.
    """

    number: int
    text: bytes
    reason: str


def parse(
    data: bytes, *, strict: bool = True
) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Parses a log.

    A record is a JSON object with an integer `step`. Steps must not decrease, and no
    field may occur twice for one step.

    Args:
        data: content of the file.
        strict: whether a line with NaN or infinity, as earlier versions wrote them, is
            invalid; otherwise they become None.

    Returns:
        The records and the invalid lines, both in file order.
    """
    found: list[tuple[int, bytes, dict[str, Any]]] = []
    bad: list[BadLine] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append((number, line, _record(line, strict)))
        except ValueError as error:
            bad.append(BadLine(number, line, str(error)))
    kept = _longest_rise([record["step"] for _, _, record in found])
    records: list[dict[str, Any]] = []
    said: set[str] = set()
    for place, (number, line, record) in enumerate(found):
        step = record["step"]
        fields = set(without_wall(record)) - {"step", json_file.NOT_FINITE}
        if place not in kept:
            bad.append(BadLine(number, line, f"step {step} is out of order"))
            continue
        if records and records[-1]["step"] != step:
            said = set()
        if fields & said:
            name = min(fields & said)
            bad.append(BadLine(number, line, f"step {step} has {name} twice"))
            continue
        said |= fields
        records.append(record)
    return records, sorted(bad, key=lambda line: line.number)


def without_wall(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a record that do not depend on the clock."""
    return {k: v for k, v in record.items() if not k.startswith(WALL_PREFIX)}


@dataclasses.dataclass(frozen=True)
class MetricsFile:
    """The log file of a run, to read or to continue.

    Attributes:
        path: path of the file, which need not exist.
    """

    path: paths.AnyPath

    def read(self) -> list[dict[str, Any]]:
        """Reads all records; returns an empty list if there is no file.

        An incomplete last line, which may still be being written, is ignored. NaN and
        infinity are read as None.

        Raises:
            RunError: the file cannot be read, or another line is invalid; the message
                names the file and the line.
        """
        try:
            data = _bytes(self.path)
        except OSError as error:
            raise errors.RunError(f"{self.path}: cannot be read ({error})") from error
        records, bad = parse(data, strict=False)
        last = data.count(b"\n") + 1  # The text after the last newline.
        for line in bad:
            if line.number != last:
                raise errors.RunError(
                    f"{self.path}:{line.number}: not a valid record ({line.reason}); "
                    "the command that trained the run moves invalid lines to "
                    f"{self.path.name}.corrupt"
                )
        return records

    def read_end(self) -> list[dict[str, Any]]:
        """Returns the last records, ignoring errors and invalid lines."""
        try:
            # The first line may be cut off, and the last may be incomplete.
            return parse(paths.read_end(self.path, _END_BYTES))[0]
        except OSError:
            return []

    def append_after(self, step: int) -> "MetricsLog":
        """Opens the log for appending, after deleting the records after `step`."""
        return MetricsLog(self.path, step)


class MetricsLog:
    """Appends records to `metrics.jsonl` and keeps them in memory.

    Attributes:
        records: all records so far, including those of earlier processes.
    """

    def __init__(self, path: paths.PathLike, resume_step: int):
        """Opens the log and deletes the records after `resume_step`.

        Invalid lines are moved to PATH.corrupt with a warning.

        Args:
            path: path of the file, which need not exist.
            resume_step: last step to keep.
        """
        self._path = paths.parse(path)
        records, bad = parse(_bytes(self._path))
        if bad:
            self._keep_aside(bad, len(records))
        self.records = [r for r in records if r["step"] <= resume_step]
        kept = "".join(map(_line, self.records))
        self._file = appended_file.AppendedFile(self._path, kept.encode())

    def _keep_aside(self, bad: Sequence[BadLine], num_good: int) -> None:
        aside = self._path.with_name(self._path.name + ".corrupt")
        added = b"".join(line.text + b"\n" for line in bad)
        paths.write_bytes(aside, _bytes(aside) + added)
        listed = "; ".join(f"line {line.number}: {line.reason}" for line in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        logging.warning(
            "%s has %d invalid lines (%s%s), moved to %s; the other %d are kept",
            self._path,
            len(bad),
            listed,
            more,
            aside.name,
            num_good,
        )

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one record; floats are written with full precision.

        Args:
            step: number of completed steps.
            values: the other fields.
        """
        record = {"step": step, **values}
        self._file.append(_line(record).encode())
        self.records.append(record)

    def sync(self) -> None:
        """Flushes the log to disk, so that no checkpoint is ahead of it."""
        self._file.sync()

    def has(self, step: int, names: Iterable[str]) -> bool:
        """Returns whether one record of a step has all fields outside `wall/`.

        Args:
            step: the step.
            names: names of the fields; those under `wall/` are ignored.
        """
        needed = {name for name in names if not name.startswith(WALL_PREFIX)}
        return any(r["step"] == step and needed <= r.keys() for r in self.records)

    def history(self, name: str) -> list[float]:
        """Returns all values of a field except null, oldest first."""
        found = (record.get(name) for record in self.records)
        return [value for value in found if value is not None]

    def latest(self) -> dict[str, Any]:
        """Returns the latest value of every field outside `wall/`."""
        merged: dict[str, Any] = {}
        for record in self.records:
            merged.update(without_wall(record))
        return merged

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _bytes(path: paths.PathLike) -> bytes:
    try:
        return paths.read_bytes(path)
    except FileNotFoundError:
        return b""


def _record(line: bytes, strict: bool) -> dict[str, Any]:
    record = json_file.loads_object(line, strict=strict)
    step = record.get("step")
    if type(step) is not int or step < 0:
        raise ValueError(f"step is {ranges.shown(step)}, not an integer of at least 0")
    for name, value in record.items():
        if name != json_file.NOT_FINITE and not _is_measured(value):
            raise ValueError(f"{name} is {ranges.shown(value)}, not a number")
    return record


def _is_measured(value: Any) -> bool:
    """Returns whether a value is a number, a boolean, null, or a list of these."""
    if isinstance(value, list):
        return all(map(_is_measured, value))
    return value is None or isinstance(value, int | float)


def _longest_rise(steps: Sequence[int]) -> set[int]:
    """Returns the indices of a longest non-decreasing subsequence.

    This way, one wrong step invalidates only its own line, however large it is.
    """
    last_steps: list[int] = []  # Smallest last step of a subsequence of each length,
    last_places: list[int] = []  # and its index.
    before: list[int | None] = []
    for place, step in enumerate(steps):
        length = bisect.bisect_right(last_steps, step)
        before.append(last_places[length - 1] if length else None)
        last_steps[length : length + 1] = [step]
        last_places[length : length + 1] = [place]
    rise: set[int] = set()
    place = last_places[-1] if last_places else None
    while place is not None:
        rise.add(place)
        place = before[place]
    return rise


def _line(record: Mapping[str, Any]) -> str:
    return json_file.dumps(record) + "\n"
