"""What a downstream task is: files, a reader, a template and a score."""

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

# The target of an example whose release keeps the label to itself.
UNLABELED = "<unk>"
# Scores and predictions are filed under a task's name.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MOST_EXAMPLES = 2**31 - 1
_MOST_DIGITS = 10  # of a class's number; Python refuses to read thousands
_MOST_SHOWN = 600  # characters of an error, which may quote a field of any length


class Row(dict):
    """One record of a release: its fields, and where it stands (`file:line`)."""

    def __init__(
        self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]], origin: str
    ):
        super().__init__(fields)
        self.origin = origin

    def error(self, message: str) -> DataError:
        """Returns the error that this row has `message`, shortened."""
        return DataError(f"{self.origin}: {shortened(message)}")

    def text(self, field: str) -> str:
        """Returns a field that must be there and be a text."""
        value = self.field(field)
        if not isinstance(value, str):
            kind = type(value).__name__
            raise self.error(f"field {field!r} is {kind}, not a text")
        return value

    def field(self, field: str) -> Any:
        """Returns a field that must be there."""
        if field not in self:
            raise self.error(f"no field {field!r}; the fields are {', '.join(self)}")
        return self[field]

    def key(self, field: str) -> str | int | float:
        """Returns a field that must be a text or a number, to tell records apart."""
        value = self.field(field)
        if not isinstance(value, str | int | float):
            kind = type(value).__name__
            raise self.error(f"field {field!r} is {kind}, not a text or a number")
        return value

    def index(self, field: str) -> int:
        """Returns a field that must be a place in a text, 0 or more."""
        value = self.field(field)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(f"{field} {value!r} is not a whole number, 0 or more")
        return value

    def texts(self, field: str) -> list[str]:
        """Returns a field that must be a list of texts."""
        values = self.field(field)
        if not isinstance(values, list) or not all(isinstance(x, str) for x in values):
            raise self.error(f"field {field!r} is not a list of texts")
        return values

    def parts(self, field: str) -> "Iterator[Row]":
        """Yields the objects of a field that must be a list of them."""
        values = self.field(field)
        if not isinstance(values, list):
            raise self.error(f"field {field!r} is not a list")
        for value in values:
            yield self._part(field, value)

    def part(self, field: str) -> "Row":
        """Returns a field that must be an object."""
        return self._part(field, self.field(field))

    def _part(self, field: str, value: Any) -> "Row":
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise self.error(f"{kind} where {field!r} must have an object")
        return Row(value, self.origin)

    def number(self, field: str) -> float | None:
        """Returns a field that is a number or a text of one; None if it is absent."""
        value = self.get(field)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"{field} {value!r} is not a number") from None

    def class_index(self, labels: Sequence[str], field: str = "label") -> int | None:
        """Returns the class of a row, None where the release has no label.

        Args:
            labels: the classes in order. A label is one of them, or its index as a
                number or text; -1 and an absent field are no label.
            field: the label's field.

        Raises:
            DataError: the label is outside the set.
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
            f"label {self[field]!r} is outside the set; accepted are "
            f"{', '.join(labels)}, or 0 to {len(labels) - 1}"
        )


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A row left out because the release has it so; it is counted and reported."""

    origin: str
    reason: str  # the same words for all rows of this kind


@dataclasses.dataclass(frozen=True)
class Example:
    """One text-to-text example.

    Attributes:
        inputs: for the encoder, with the task's prefix.
        targets: what is taught.
        answer: what a metric compares a prediction with: a class, a number, a tuple of
            accepted texts; None where the release has no label.
        group: the same for examples that are scored together.
    """

    inputs: str
    targets: str
    answer: Any
    group: Hashable = None


def shortened(message: str) -> str:
    """Returns a message that quotes somebody's text, without its middle if long."""
    if len(message) <= _MOST_SHOWN:
        return message
    half = _MOST_SHOWN // 2
    return f"{message[:half]} ... {message[-half:]}"


Read = Callable[[pathlib.Path, str], Iterator[Row | Dropped]]
Examples = Callable[[Row], Iterable[Example | Dropped]]
ScoreFunction = Callable[[Sequence[Example], Sequence[str]], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A downstream task, declared in one place.

    Attributes:
        name: unique among all tasks.
        benchmark: what it is averaged with; None => nothing.
        files: split -> where its files may lie under the user's folder, the best first.
            A place is a path or a glob; of {a,b} both must be there. "train",
            "validation" and "test" are splits.
        read: (path, split) -> the rows of one file or folder, in order.
        examples: row -> its examples, by the task's template.
        labels: the classes in order; () => the answer is free text.
        score: (examples, predicted texts) -> metrics in percent.
        averaged: the metrics whose mean is the task's one number.
        train_examples: the size of the release's training set, for mixture rates;
            0 => not for training.
        sentinels: `<extra_id_N>` in its texts is a sentinel, as in pretraining; else
            it is plain text, as nobody may write sentinels in a release.
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

    def __post_init__(self):
        """Raises DataError, naming the field, where the declaration is wrong."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DataError(
                f"Task name {quoted(self.name)}; accepted are 1 to 64 ASCII "
                "letters, digits, '_', '-' and '.', of which the last two are never "
                "first: scores and predictions are filed under it."
            )
        for field, holds, accepted in (
            (
                "benchmark",
                self.benchmark is None or isinstance(self.benchmark, str),
                "a name, or None",
            ),
            (
                "files",
                isinstance(self.files, Mapping)
                and all(map(_is_texts, self.files.values())),
                "a mapping of splits to tuples of places",
            ),
            ("read", callable(self.read), "a function of (path, split)"),
            ("examples", callable(self.examples), "a function of a row"),
            (
                "labels",
                _is_texts(self.labels) and len({*self.labels}) == len(self.labels),
                "a tuple of different texts, () for free text",
            ),
            ("score", callable(self.score), "a function of (examples, predictions)"),
            (
                "averaged",
                _is_texts(self.averaged) and len(self.averaged) > 0,
                "a tuple of the score's metrics",
            ),
            (
                "train_examples",
                type(self.train_examples) is int
                and 0 <= self.train_examples <= _MOST_EXAMPLES,
                f"a whole number from 0 to {_MOST_EXAMPLES}",
            ),
            ("sentinels", isinstance(self.sentinels, bool), "True or False"),
        ):
            if not holds:
                value = quoted(getattr(self, field))
                raise DataError(
                    f"Task {self.name!r}: {field} is {value}; accepted is {accepted}."
                )


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(x, str) for x in value)


def places(folders: Sequence[str], *names: str) -> tuple[str, ...]:
    """Returns each name in each folder ("" is the user's own), the first name first."""
    return tuple(folder + name for name in names for folder in folders)
