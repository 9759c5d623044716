"""Parses numbers given on command lines, and checks their ranges."""

import ast
from collections.abc import Callable
import dataclasses
import decimal
import math
import re
from typing import Any

from clinometer.kernels.options.errors import OptionError

MOST_WHOLE = 2**31 - 1  # Steps and lengths are int32 on devices.
MOST_SEED = 2**32 - 1  # Larger seeds would be truncated: 2^32 + 7 to 7.
MOST_REAL = 1e30  # Room below float32's largest, 3.4e38, for products.

_CONSTANTS = {"true": True, "false": False, "none": None}
_DIGITS = 40  # Longer numbers are out of every range.


@dataclasses.dataclass(frozen=True)
class Whole:
    """A range of integers; callable on a string, as the `type` of an option.

    Attributes:
        least: the smallest accepted value.
        most: the largest accepted value.
    """

    least: int = 0
    most: int = MOST_WHOLE

    def __call__(self, text: str) -> int:
        """Parses e.g. "1000", "1_000" or "1e3"; raises OptionError."""
        value = literal(text)
        if type(value) is not int:
            raise OptionError(f"got {shown(text)}, accepted: {self}")
        self.check(value)
        return value

    def check(self, value: int) -> None:
        """Raises OptionError if the value is out of range."""
        if value < self.least:
            raise OptionError(_too_small(self.least, value))
        if value > self.most:
            raise OptionError(f"must be at most {self.most}, got {shown(value)}")

    def __str__(self) -> str:
        """Returns a description of the accepted values."""
        if self.most == MOST_WHOLE:
            return f"a whole number, at least {self.least}"
        return f"a whole number from {self.least} to {self.most}"


@dataclasses.dataclass(frozen=True)
class Real:
    """A range of finite numbers; callable on a string, as the `type` of an option.

    Attributes:
        least: the lower bound.
        most: the upper bound.
        without_least: whether `least` itself is excluded.
        without_most: whether `most` itself is excluded.
    """

    least: float = 0.0
    most: float = MOST_REAL
    without_least: bool = False
    without_most: bool = False

    def __call__(self, text: str) -> float:
        """Parses e.g. "0.1" or "1e-4"; raises OptionError."""
        value = literal(text)
        if type(value) not in (int, float):
            raise OptionError(f"got {shown(text)}, accepted: {self}")
        self.check(value)
        return float(value)

    def check(self, value: float) -> None:
        """Raises OptionError if the value is out of range."""
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(f"must be a finite number, got {value}")
        if self.without_least and value <= self.least:
            above = "positive" if self.least == 0 else f"above {self.least:g}"
            raise OptionError(f"must be {above}, got {shown(value)}")
        if value < self.least:
            raise OptionError(_too_small(self.least, value))
        if value > self.most or (self.without_most and value == self.most):
            most = "below" if self.without_most else "at most"
            raise OptionError(f"must be {most} {self.most:g}, got {shown(value)}")

    def __str__(self) -> str:
        """Returns a description of the accepted values."""
        opening = "(" if self.without_least else "["
        closing = ")" if self.without_most else "]"
        if self.most < MOST_REAL:
            return f"a number in {opening}{self.least:g}, {self.most:g}{closing}"
        words = "above" if self.without_least else "at least"
        return f"a number, {words} {self.least:g}"


SEED = Whole(0, MOST_SEED)


def listed(kind: Whole | Real) -> Callable[[str], list[Any]]:
    """Returns a parser of lists of numbers, e.g. "0 1 2" or "0,1,2".

    Args:
        kind: the range of each number.
    """

    def read(text: str) -> list[Any]:
        return [kind(part) for part in re.split(r"[\s,]+", text) if part]

    return read


def literal(text: str) -> Any:
    """Parses a literal such as 1e3 (an integer), true or (1, 2).

    Text that is not a Python literal, a number or true/false/none in any case is
    returned unchanged.
    """
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    number = _number(text)
    if number is not None:
        return number
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def shown(value: Any, most: int = 80) -> str:
    """Returns the repr of a value for a message, shortened if longer than `most`.

    Args:
        value: any value.
        most: the maximum length in characters.
    """
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        return f"a whole number of more than {_DIGITS} digits"
    text = repr(value)
    return text if len(text) <= most else f"{text[:60]}... ({len(text)} characters)"


def _number(text: str) -> int | float | None:
    try:
        exact = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return None
    if exact.is_nan():
        return math.nan
    if exact.is_infinite() or exact.adjusted() > _DIGITS:
        return float(exact)  # inf if too large for a float.
    if exact == exact.to_integral_value():
        return int(exact)
    return float(exact)


def _too_small(least: float, value: float) -> str:
    if least == 0:
        return f"must not be negative, got {shown(value)}"
    return f"must be at least {least:g}, got {shown(value)}"
