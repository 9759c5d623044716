"""The definition of a downstream task: files, a reader, a template and a score."""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import re
from typing import Any

from clinometer.data.errors import DataError
from clinometer.data.errors import quoted

# The target of an example whose label is not in the release.
UNLABELED = "<unk>"
# File names and metric names contain the name of the task.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MOST_EXAMPLES = 2**31 - 1
_MOST_DIGITS = 10  # digits of a class index; Python refuses to parse thousands
_MOST_SHOWN = 600  # characters of an error, which may quote a long field


class Row(dict):
    """A record of a release, a dict of its fields.

    Args:
        fields: the fields, as for `dict`.
        origin: where the record is (`file:line`).

    Attributes:
        origin: where the record is (`file:line`).
    """

    def __init__(
        self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]], origin: str
    ):
        super().__init__(fields)
        self.origin = origin

    def error(self, message: str) -> DataError:
        """Returns an error for this row, with its origin and the shortened message."""
        return DataError(f"{self.origin}: {shortened(message)}")

    def text(self, field: str) -> str:
        """Returns the value of a required field that must be a string.

        Raises:
            DataError: the field is missing or has another type.
        """
        value = self.field(field)
        if not isinstance(value, str):
            kind = type(value).__name__
            raise self.error(f"field {field!r} is {kind}, not a string")
        return value

    def field(self, field: str) -> Any:
        """Returns the value of a required field; raises DataError if it is missing."""
        if field not in self:
            raise self.error(f"no field {field!r}; the fields are {', '.join(self)}")
        return self[field]

    def key(self, field: str) -> str | int | float:
        """Returns the value of a field that must be a string or number, for an id.

        Raises:
            DataError: the field is missing or has another type.
        """
        value = self.field(field)
        if not isinstance(value, str | int | float):
            kind = type(value).__name__
            raise self.error(f"field {field!r} is {kind}, not a string or a number")
        return value

    def index(self, field: str) -> int:
        """Returns the value of a field that must be an integer, 0 or more.

        Raises:
            DataError: the field is missing or has another value.
        """
        value = self.field(field)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(f"{field} {value!r} is not a whole number, 0 or more")
        return value

    def texts(self, field: str) -> list[str]:
        """Returns the value of a field that must be a list of strings.

        Raises:
            DataError: the field is missing or has another type.
        """
        values = self.field(field)
        if not isinstance(values, list) or not all(isinstance(x, str) for x in values):
            raise self.error(f"field {field!r} is not a list of strings")
        return values

    def parts(self, field: str) -> "Iterator[Row]":
        """Yields the elements of a field that must be a list of JSON objects.

        Raises:
            DataError: the field is missing or has another type.
        """
        values = self.field(field)
        if not isinstance(values, list):
            raise self.error(f"field {field!r} is not a list")
        for value in values:
            yield self._part(field, value)

    def part(self, field: str) -> "Row":
        """Returns the value of a field that must be a JSON object.

        Raises:
            DataError: the field is missing or has another type.
        """
        return self._part(field, self.field(field))

    def _part(self, field: str, value: Any) -> "Row":
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise self.error(f"field {field!r} has {kind} instead of a JSON object")
        return Row(value, self.origin)

    def number(self, field: str) -> float | None:
        """Returns the value of a field as a number, or None if the field is missing.

        Raises:
            DataError: the value is not a number or the text of one.
        """
        value = self.get(field)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"{field} {value!r} is not a number") from None

    def class_index(self, labels: Sequence[str], field: str = "label") -> int | None:
        """Returns the class index of a row, or None if the row has no label.

        Args:
            labels: the class names in order. A label is one of these, or its index as a
                number or text. If it is -1 or missing, the row has no label.
            field: the field with the label.

        Raises:
            DataError: the label is none of these.
        """
        value = self.get(field)
        if value is None or (value in (-1, "-1") and not isinstance(value, bool)):
            return None
        if isinstance(value, bool):
            value = str(value)
        if isinstance(value, str):
            if value in labels:
                return labels.index(value)
            if value.isdecimal() and len(value) < _MOST_DIGITS:
                value = int(value)
        if isinstance(value, int) and 0 <= value < len(labels):
            return value
        raise self.error(
            f"label {self[field]!r} is not valid; accepted are {', '.join(labels)}, or "
            f"0 to {len(labels) - 1}"
        )


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A row that is dropped due to a known defect of the release, and counted.

    Attributes:
        origin: where the row is (`file:line`).
        reason: why it is dropped, the same text for all rows with this defect.
    """

    origin: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Example:
    """One text-to-text example.

    Attributes:
        inputs: text for the encoder, with the task's prefix.
        targets: text to train on.
        answer: what the metrics compare a prediction with, such as a class index, a
            number or a tuple of accepted texts; None if the release has no label.
        group: a key shared by examples that are scored together.
    """

    inputs: str
    targets: str
    answer: Any
    group: Hashable = None


def shortened(message: str) -> str:
    """Returns a message without its middle part if it is long."""
    if len(message) <= _MOST_SHOWN:
        return message
    half = _MOST_SHOWN // 2
    return f"{message[:half]} ... {message[-half:]}"


Read = Callable[[pathlib.Path, str], Iterator[Row | Dropped]]
Examples = Callable[[Row], Iterable[Example | Dropped]]
ScoreFunction = Callable[[Sequence[Example], Sequence[str]], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Task:
    """The declaration of a downstream task.

    Attributes:
        name: the task's name, unique among all tasks.
        benchmark: the benchmark that the task belongs to; None => none.
        files: split ("train", "validation" or "test") -> where its files may be below
            the user's folder, in order of preference. Each is a path or a glob; with
            {a,b}, both files are required.
        read: (path, split) -> the rows of a file or folder, in order.
        examples: row -> its examples, by the task's template.
        labels: the class names in order; () => the answer is free text.
        score: (examples, predicted texts) -> metrics in percent.
        averaged: the metrics whose mean is the task's number.
        train_examples: size of the release's training set, for mixture rates; 0 => not
            for training.
        sentinels: whether `<extra_id_N>` in the task's texts is a sentinel, as in
            pretraining; by default it is plain text, so that a release cannot contain
            sentinels.
        closed: whether the targets of a split's examples are all answers that are
            possible, although there are no labels.

    Raises:
        DataError: a field is invalid; the message names it.
    """

    name: str
    benchmark: str | None
    files: Mapping[str, tuple[str, ...]]
    read: Read
    examples: Examples
    labels: tuple[str, ...]
    score: ScoreFunction
    averaged: tuple[str, ...]
    train_examples: int
    sentinels: bool = False
    closed: bool = False

    def __post_init__(self):
        """Raises DataError, naming the field, where the declaration is wrong."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DataError(
                f"Task name {quoted(self.name)} is not valid; accepted are 1 to 64 "
                "ASCII letters, digits, '_', '-' and '.', not starting with '-' or "
                "'.', because files are named after the task."
            )
        for field, holds, accepted in (
            (
                "benchmark",
                self.benchmark is None or isinstance(self.benchmark, str),
                "a string or None",
            ),
            (
                "files",
                isinstance(self.files, Mapping)
                and all(map(_is_texts, self.files.values())),
                "a mapping from splits to tuples of paths",
            ),
            ("read", callable(self.read), "a function of (path, split)"),
            ("examples", callable(self.examples), "a function of a row"),
            (
                "labels",
                _is_texts(self.labels) and len({*self.labels}) == len(self.labels),
                "a tuple of distinct strings, () for free text",
            ),
            ("score", callable(self.score), "a function of (examples, predictions)"),
            (
                "averaged",
                _is_texts(self.averaged) and len(self.averaged) > 0,
                "a tuple of names of metrics",
            ),
            (
                "train_examples",
                type(self.train_examples) is int
                and 0 <= self.train_examples <= _MOST_EXAMPLES,
                f"a whole number from 0 to {_MOST_EXAMPLES}",
            ),
            ("sentinels", isinstance(self.sentinels, bool), "True or False"),
            (
                "closed",
                isinstance(self.closed, bool) and not (self.closed and self.labels),
                "True or False, and False for a task with labels",
            ),
        ):
            if not holds:
                value = quoted(getattr(self, field))
                raise DataError(
                    f"Task {self.name!r}: {field} is {value}; accepted is {accepted}."
                )


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(x, str) for x in value)


def places(folders: Sequence[str], *names: str) -> tuple[str, ...]:
    """Returns the paths of each name in each folder, all of the first name first.

    Args:
        folders: prefixes that end with a slash, or "" for the user's folder itself.
        *names: file names, in order of preference.
    """
    return tuple(folder + name for name in names for folder in folders)
