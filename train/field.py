"""A configuration field: its documentation and the values that it accepts."""

import dataclasses
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError


@dataclasses.dataclass(frozen=True)
class Field:
    """A configuration field.

    Attributes:
        meaning: description for `--help`, with the unit and what None means if the
            field accepts it.
        accepts: a range of numbers, a tuple of names, `bool` or `str`.
        optional: whether None is accepted too.
    """

    meaning: str
    accepts: ranges.Whole | ranges.Real | tuple[str, ...] | type
    optional: bool = False

    def check(self, value: Any) -> None:
        """Checks the type and range of a value.

        Raises:
            OptionError: the value has the wrong type or is out of range.
        """
        if value is None and self.optional:
            return
        if isinstance(self.accepts, tuple):
            if value not in self.accepts:
                raise OptionError(
                    f"unknown {ranges.shown(value)}; accepted: "
                    f"{', '.join(self.accepts)}"
                )
            return
        if not isinstance(value, self._types()) or (
            isinstance(value, bool) and self.accepts is not bool
        ):
            raise OptionError(f"got {ranges.shown(value)}, accepted: {self.choices}")
        if not isinstance(self.accepts, type):
            self.accepts.check(value)

    @property
    def choices(self) -> str:
        """Description of the accepted values."""
        if isinstance(self.accepts, tuple):
            *others, last = self.accepts
            words = f"{', '.join(others)} or {last}"
        else:
            named = {bool: "true or false", str: "a string"}
            words = named.get(self.accepts, str(self.accepts))
        return words + (", or none" if self.optional else "")

    def _types(self) -> tuple[type, ...]:
        if isinstance(self.accepts, type):
            return (self.accepts,)
        return (int, float) if isinstance(self.accepts, ranges.Real) else (int,)
