"""Reads and writes the table of tuned learning rates, `rates.json`.

The table has one entry for each architecture, number of layers and protocol. An entry
holds the losses of its sweep and what was concluded from them; rates of widths between
the swept ones follow by `line.rate`.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.tools.study import errors
from clinometer.train.run import json_file
from clinometer.train.run import schema
from clinometer.train.run.schema import Number
from clinometer.train.run.schema import Part

FORMAT_VERSION = 1
FILE_NAME = "rates.json"
# The table that ships with Clinometer.
SHIPPED = pathlib.Path(__file__).resolve().parent.parent / FILE_NAME


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point(Part):
    """A run of a sweep; the loss is None if the run diverged.

    Attributes:
        rate: peak learning rate.
        loss: final validation loss, nats.
    """

    rate: Number
    loss: Number | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size(Part):
    """A swept size.

    Attributes:
        width: d_model.
        model: the model that was trained.
        rate: the tuned rate.
        losses: the sweep, by rate.
        interior: whether rates on both sides of the lowest loss were tried.
        vertex: the rate at the parabola's vertex, or None.
        cliff: the rate at which the cliff begins, or None.
        remarks: which rules took the place of the vertex.
    """

    width: int
    model: str
    rate: Number
    losses: Sequence[Point]
    interior: bool
    vertex: Number | None
    cliff: Number | None
    remarks: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check(Part):
    """The check of the line at the size below the largest.

    Attributes:
        width: d_model.
        rate: the line's rate.
        above: loss at sqrt 2 times the rate; None if that run diverged.
        below: loss at the rate over sqrt 2; None likewise.
        offset: ln of the rate over the optimum; None if it cannot be told.
        offset_error: its standard error.
        passed: whether the line holds; otherwise the size was swept, too.
    """

    width: int
    rate: Number
    above: Number | None
    below: Number | None
    offset: Number | None
    offset_error: Number | None
    passed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry(Part):
    """The tuned rates of one architecture.

    Attributes:
        architecture: its name.
        layers: numbers of encoder and decoder layers.
        settings: config key -> value of the protocol, without the rate.
        corpus_hash: of the token store, or of the images for training.
        vocabulary_sha256: of the token store; "" for images.
        seed: of the sweep's runs, which final runs do not use again.
        curvature: common second derivative of the loss in ln(rate).
        curvature_error: its standard error; None if no size had enough points.
        spread: standard deviation of a loss around the parabolas.
        sizes: the swept sizes, by width.
        check: None if there is no size between the ends.
        measured: when and on what the sweep ran.
    """

    architecture: str
    layers: Sequence[int]
    settings: Mapping[str, Any]
    corpus_hash: str
    vocabulary_sha256: str
    seed: int
    curvature: Number
    curvature_error: Number | None
    spread: Number
    sizes: Sequence[Size]
    check: Check | None
    measured: Mapping[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What distinguishes the entry from others of a table."""
        settings = json.dumps(dict(self.settings), sort_keys=True)
        store = (self.corpus_hash, self.vocabulary_sha256)
        return self.architecture, tuple(self.layers), settings, store

    @property
    def rates(self) -> dict[int, float]:
        """Width -> tuned rate of the swept sizes."""
        return {size.width: float(size.rate) for size in self.sizes}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Part):
    """The contents of `rates.json`.

    Attributes:
        format_version: version of the format.
        entries: one per architecture, width and protocol.
    """

    format_version: int = FORMAT_VERSION
    entries: Sequence[Entry] = ()

    @property
    def sha256(self) -> str:
        """The hash by which runs record the table; the file's layout is not in it."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def updated(self, entries: Iterable[Entry]) -> "Table":
        """Returns the table with entries added, or replaced if their keys are equal."""
        kept = {entry.key: entry for entry in (*self.entries, *entries)}
        ordered = sorted(kept.values(), key=lambda entry: repr(entry.key))
        return dataclasses.replace(self, entries=tuple(ordered))


def read(path: str | os.PathLike[str]) -> Table:
    """Reads a table.

    Args:
        path: of the file.

    Raises:
        StudyError: there is no such file, or it cannot be read; the message names the
            file and the field.
    """
    try:
        contents = json_file.read_object(path)
        schema.check_version(contents, FORMAT_VERSION)
        table = Table.from_json(contents)
        for number, entry in enumerate(table.entries):
            _check(entry, f"entries.{number}")
    except OSError as error:
        raise errors.StudyError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise errors.StudyError(f"{path}: {error}") from error
    return table


def write(path: str | os.PathLike[str], table: Table) -> None:
    """Writes a table atomically, by renaming a temporary file."""
    json_file.write(path, table.to_json())


def _check(entry: Entry, place: str) -> None:
    if not entry.sizes:
        raise schema.FieldError(f"{place}.sizes is empty; accepted: one size or more")
    accepted = ranges.Real(without_least=True)
    for size in entry.sizes:
        for name, value in (("width", size.width), ("rate", size.rate)):
            try:
                accepted.check(value)
            except ValueError as error:
                raise schema.FieldError(f"{place}.sizes: {name} {error}") from None
