"""The points of laws: a model under one condition, with the means of its runs.

The standard error of a mean is that between runs, with the variance pooled over all
models, where at least one model has several runs. Else it is the one that the rows give
(`*_standard_error`), and else it is unknown.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import statistics
from typing import Any

import pandas as pd

from clinometer.tools.fit import comparable
from clinometer.tools.results import table

LOSS = "validation_loss_nats"
# Column -> that of its standard error, where it is named otherwise.
_ERRORS = {
    LOSS: "validation_loss_standard_error",
    "downstream_score": "downstream_sampling_error",
}
# Further columns in which the runs of a model are no replicates of each other.
_APART = ("tokens_seen", "training_flops", "source")


@dataclasses.dataclass(frozen=True)
class Value:
    """A mean over the runs of a point.

    Attributes:
        mean: in the unit of its column.
        error: its standard error, likewise; None if unknown.
        runs: number of runs.
    """

    mean: float
    error: float | None
    runs: int


@dataclasses.dataclass(frozen=True)
class Point:
    """A model under one condition.

    Attributes:
        architecture: its architecture.
        model: its name.
        runs: names of its runs.
        values: column -> mean, of the columns that its runs have.
        row: the row of its first run.
    """

    architecture: str
    model: str
    runs: tuple[str, ...]
    values: Mapping[str, Value]
    row: Mapping[str, Any]

    def mean(self, column: str) -> float | None:
        """Returns the mean of a column; None if no run has it."""
        found = self.values.get(column)
        return None if found is None else found.mean

    def error(self, column: str) -> float | None:
        """Returns the standard error of a mean; None if unknown."""
        found = self.values.get(column)
        return None if found is None else found.error


@dataclasses.dataclass(frozen=True)
class Points:
    """The points of a frame.

    Attributes:
        points: in the order of their first runs.
        degrees: column -> degrees of freedom of its errors; infinite for those that the
            rows give.
    """

    points: tuple[Point, ...]
    degrees: Mapping[str, float]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures, in order of first appearance."""
        return tuple(dict.fromkeys(point.architecture for point in self.points))

    def of(self, architecture: str, *columns: str) -> list[Point]:
        """Returns an architecture's points that have these columns, by the first."""
        found = [
            point
            for point in self.points
            if point.architecture == architecture
            and all(column in point.values for column in columns)
        ]
        return sorted(found, key=lambda point: point.values[columns[0]].mean)


def of_frame(frame: pd.DataFrame, columns: Sequence[str]) -> Points:
    """Returns the points of the runs that fits may use.

    Args:
        frame: a frame of runs.
        columns: columns of numbers to average; those that the frame lacks are skipped.
    """
    columns = [column for column in dict.fromkeys(columns) if column in frame]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.to_records(table.usable(frame)):
        key = (*comparable.cell(row), *(row[name] for name in _APART))
        groups.setdefault(key, []).append(row)
    spreads = {column: _pooled(groups.values(), column) for column in columns}
    points = []
    for rows in groups.values():
        values = {}
        for column in columns:
            found = [row for row in rows if row[column] is not None]
            if found:
                error = _error(found, column, spreads[column][0])
                mean = statistics.fmean(row[column] for row in found)
                values[column] = Value(mean, error, len(found))
        first = rows[0]
        names = tuple(row["run"] for row in rows)
        points.append(
            Point(first["architecture"], first["model"], names, values, first)
        )
    return Points(tuple(points), {name: spreads[name][1] for name in columns})


def _pooled(groups, column: str) -> tuple[float | None, float]:
    """Returns the standard deviation of a run in its group, and its degrees."""
    squares, degrees = 0.0, 0
    for rows in groups:
        values = [row[column] for row in rows if row[column] is not None]
        if len(values) > 1:
            squares += statistics.variance(values) * (len(values) - 1)
            degrees += len(values) - 1
    if degrees == 0:
        return None, math.inf
    return math.sqrt(squares / degrees), degrees


def _error(
    rows: Sequence[Mapping[str, Any]], column: str, spread: float | None
) -> float | None:
    """Returns the standard error of the mean of a column over rows that have it."""
    if spread is not None:
        return spread / math.sqrt(len(rows))
    name = _ERRORS.get(column, f"{column}_standard_error")
    given = [row.get(name) for row in rows]
    if any(error is None for error in given):
        return None
    return math.sqrt(statistics.fmean(error**2 for error in given))
