"""What a downstream task is: files, a reader, a template and a score."""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from clinometer.data.errors import DataError

# The target of an example whose release keeps the label to itself.
UNLABELED = "<unk>"


class Row(dict):
    """One record of a release: its fields, and where it stands (`file:line`)."""

    def __init__(
        self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]], origin: str
    ):
        super().__init__(fields)
        self.origin = origin

    def error(self, message: str) -> DataError:
        """Returns the error that this row has `message`."""
        return DataError(f"{self.origin}: {message}")

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
        except (TypeError, ValueError):
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
            if value.isdecimal():
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


Read = Callable[[pathlib.Path, str], Iterator[Row | Dropped]]
Examples = Callable[[Row], Iterable[Example | Dropped]]
Score = Callable[[Sequence[Example], Sequence[str]], dict[str, float]]


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
    score: Score
    averaged: tuple[str, ...]
    train_examples: int
    sentinels: bool = False


def places(folders: Sequence[str], *names: str) -> tuple[str, ...]:
    """Returns each name in each folder ("" is the user's own), the first name first."""
    return tuple(folder + name for name in names for folder in folders)
