"""A claim and its verdict."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import enum

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
    """

    outcome: Outcome
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        name: a short unique name.
        statement: the claim, as a sentence.
        judge: returns the verdict. It gets the finished runs of the complete passes,
            and may raise `observed.UndecidableError`.
    """

    name: str
    statement: str
    judge: Callable[[observed.Runs], Verdict]
