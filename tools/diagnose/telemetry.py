"""Reads what a run directory says about its training."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from clinometer.tools.diagnose import finding
from clinometer.tools.runs import overview
from clinometer.train import config as config_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as record_lib

HEALTH = "health/"

# Step -> value, in the order of the steps.
Series = list[tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Telemetry:
    """The record and the log of a run.

    Attributes:
        record: the record.
        log: the records of the log, empty if there is none.
        status: one of `overview.STATUSES`.
        step: the last logged step.
    """

    record: record_lib.Record
    log: Sequence[Mapping[str, Any]]
    status: str
    step: int

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, with dotted keys."""
        return config_lib.flatten(self.record.config.to_json())

    @property
    def train_steps(self) -> int | None:
        """The number of steps of the whole run, or None if it is not recorded."""
        return self.record.config.train_steps

    @property
    def over(self) -> bool:
        """Whether no process trains the run."""
        return self.status not in ("running", "starting", "silent")

    def series(self, name: str) -> Series:
        """Returns the values of a field, without null; empty if it is not recorded.

        Args:
            name: name of a field with one number.
        """
        return [(r["step"], v) for r in self.log if (v := r.get(name)) is not None]

    def needed(self, name: str, fewest: int = 1) -> Series:
        """Returns the values of a field.

        Args:
            name: name of a field with one number.
            fewest: smallest number of values that will do.

        Raises:
            NotCheckedError: there are fewer; the message says so.
        """
        found = self.series(name)
        if not self.log:
            raise finding.NotCheckedError("not recorded: the run has no metrics.jsonl")
        if not found:
            raise finding.NotCheckedError(f"not recorded: the log has no {name}")
        if len(found) < fewest:
            raise finding.NotCheckedError(
                f"{len(found)} records have {name}, and it takes {fewest}"
            )
        return found

    def health(self, start: str = "", end: str = "") -> dict[str, list[tuple]]:
        """Returns the health metrics with certain names.

        Args:
            start: what the name after `health/` begins with.
            end: what it ends with.

        Returns:
            Name between both -> (step, value), where values may be lists.

        Raises:
            NotCheckedError: the log has none of any kind.
        """
        found: dict[str, list[tuple]] = {}
        measured = False
        for record in self.log:
            for name, value in record.items():
                if not name.startswith(HEALTH):
                    continue
                measured = True
                name = name.removeprefix(HEALTH)
                if name.startswith(start) and name.endswith(end) and value is not None:
                    short = name.removeprefix(start).removesuffix(end)
                    found.setdefault(short, []).append((record["step"], value))
        if not measured:
            why = "health/*; see config.log.health_every_steps"
            if not self.log:
                why = "metrics.jsonl"
            raise finding.NotCheckedError(f"not recorded: the run has no {why}")
        return found

    def not_finite(self) -> Iterator[tuple[int, str]]:
        """Yields (step, field) of the values of the log that are NaN or infinite."""
        for record in self.log:
            named = record.get(json_file.NOT_FINITE) or {}
            for name in sorted(named):
                yield record["step"], name


def read(run: pathlib.Path) -> Telemetry:
    """Reads a run directory, whose run may be finished or not.

    Args:
        run: the run directory.

    Raises:
        RunError: there is no record, or it or the log cannot be read; the message names
            the file and the line or field.
    """
    directory = run_directory.RunDirectory(run)
    status = overview.of_run(run).status
    if status == "lost":  # It may also have ended while it was looked at.
        status = overview.of_run(run).status
    record, log = directory.record(), directory.metrics.read()
    last = log[-1]["step"] if log else 0
    step = max(last, record.metrics.step or 0)
    return Telemetry(record=record, log=log, status=status, step=step)
