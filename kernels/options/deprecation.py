"""Says that a name is deprecated: it works for one more minor version.

To rename something that users may have written down, make the old name call `warn` and
list it in CHANGELOG.md. When the version in which it goes is reached,
`tests/kernels/options/test_deprecation.py` fails until the old name is deleted.
"""

import sys
from typing import TextIO
import warnings


class DeprecatedNameWarning(DeprecationWarning):
    """A name that works, and will be gone in a later version."""


def warn(old: str, new: str, *, goes_in: str, stacklevel: int = 1) -> None:
    """Warns that a name is deprecated.

    Args:
        old: the name.
        new: what to use instead.
        goes_in: the minor version in which the name goes, such as "0.2.0".
        stacklevel: 1 blames the caller of this function, 2 its caller, and so on.
    """
    message = f"{old} is deprecated and goes in version {goes_in}; use {new}"
    warnings.warn(message, DeprecatedNameWarning, stacklevel=stacklevel + 1)


def show() -> None:
    """Shows the warnings in a command, a line each, where Python would hide them."""
    warnings.simplefilter("default", DeprecatedNameWarning)
    if not isinstance(warnings.showwarning, _Shown):
        warnings.showwarning = _Shown(warnings.showwarning)


class _Shown:
    """A `warnings.showwarning` that prints ours without a place in the source."""

    def __init__(self, otherwise):
        self._otherwise = otherwise

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, DeprecatedNameWarning):
            print(f"WARNING {message}", file=file or sys.stderr)
        else:
            self._otherwise(message, category, filename, lineno, file, line)
