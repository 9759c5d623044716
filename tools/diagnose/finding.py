"""What a check says: findings, or why it could not look."""

from collections.abc import Mapping
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that went wrong.

    Attributes:
        check: name of the check.
        step: step at which it began; 0 for something that was so from the start.
        what: what went wrong, in a sentence.
        evidence: name -> measured value.
        threshold: the limit and its reason; None for what needs none.
        advice: what to try.
    """

    check: str
    step: int
    what: str
    evidence: Mapping[str, Any]
    threshold: str | None
    advice: str


class NotCheckedError(Exception):
    """The telemetry does not have what a check needs; the message says what."""
