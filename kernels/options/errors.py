"""The error for invalid user input."""

import argparse
from collections.abc import Iterable
import difflib


class OptionError(argparse.ArgumentTypeError, ValueError):
    """Raised for an invalid option, field or environment variable.

    The message says what is accepted. argparse shows the message of an OptionError that
    an option's `type` raises.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name closest to `name`, or None if none is similar.

    Args:
        name: a name in any case.
        known: the accepted names.
    """
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns " (did you mean ...?)" with the nearest known name, or "".

    Args:
        name: a name in any case.
        known: the accepted names.
    """
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""
