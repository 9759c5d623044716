"""The exception for bad input, and helpers for its messages."""

from collections.abc import Iterable
import difflib


class DataError(ValueError):
    """Bad input; the message says what is wrong with it and what is accepted."""


def quoted(value: object) -> str:
    """Returns the `repr` of a value for a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python limits the conversion of very long integers.
        return "a number with thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most similar to `name`, or None if none is."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)
