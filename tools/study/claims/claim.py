"""A claim and its verdict."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import enum
import numbers
from typing import Any

from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import observed


class Outcome(enum.StrEnum):
    """What the runs say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of a claim.

    Attributes:
        outcome: what the runs say.
        numbers: name -> value, what the outcome was decided by.
        reason: a sentence, such as why the claim is undecided.

    Raises:
        ClaimsError: a field has another type.
    """

    outcome: Outcome
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""

    def __post_init__(self):
        """Checks the fields."""
        _check("outcome", self.outcome, Outcome, "an Outcome")
        _check("reason", self.reason, str, "a string")
        _check("numbers", self.numbers, Mapping, "a mapping from names to numbers")
        for name, value in self.numbers.items():
            _check("numbers", name, str, "names that are strings")
            _check(f"numbers[{name!r}]", value, numbers.Real, "a number")

    @property
    def shown(self) -> tuple[str, ...]:
        """The numbers in words, such as "gain 0.142"."""
        return tuple(f"{name} {value:.4g}" for name, value in self.numbers.items())


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        name: a short unique name.
        statement: the claim, as a sentence.
        judge: returns the verdict. It gets the finished runs of the complete passes,
            and may raise `observed.UndecidableError`.

    Raises:
        ClaimsError: a field has another type.
    """

    name: str
    statement: str
    judge: Callable[[observed.Runs], Verdict]

    def __post_init__(self):
        """Checks the fields."""
        _check("name", self.name, str, "a string")
        _check("statement", self.statement, str, "a string")
        _check("judge", self.judge, Callable, "a function of the runs")


def _check(field: str, value: Any, kind: type, accepted: str) -> None:
    if not isinstance(value, kind):
        raise errors.ClaimsError(
            f"{field}: got {type(value).__name__}; accepted: {accepted}"
        )
