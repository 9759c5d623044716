"""The error of what a person typed."""

import argparse
from collections.abc import Iterable
import difflib


class OptionError(argparse.ArgumentTypeError, ValueError):
    """An option, field or environment variable that is refused; says what is accepted.

    argparse shows the message of one that an option's type raises.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most like `name`, or None if none is like it.

    Args:
        name: in any case.
        known: the accepted names.
    """
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns " (did you mean ...?)" with the nearest known name, or nothing."""
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""
