"""The error that every part of `data` raises for bad input."""

from collections.abc import Iterable
import difflib


class DataError(ValueError):
    """Bad input: the message says which, what was wrong and what is accepted."""


def quoted(value: object) -> str:
    """Returns a value as a message shows it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits.
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most like `name`, or None if none is like it."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)
