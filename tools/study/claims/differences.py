"""Differences of measured values, and verdicts from them."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

from scipy import stats

from clinometer.tools.laws import points as points_lib
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import observed

_ERROR_RATE = 0.05
UNKNOWN = "the error between runs is unknown: no model was trained twice"


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference that supports a claim if it is above 0.

    Attributes:
        value: the difference.
        error: its standard error; None if unknown.
        degrees: degrees of freedom of the error.
    """

    value: float
    error: float | None
    degrees: float = math.inf

    def interval(self, family: int = 1) -> tuple[float, float] | None:
        """Returns its 95 % interval as one of a family; None if unknown.

        Args:
            family: number of differences that are judged together (Bonferroni).
        """
        if self.error is None:
            return None
        level = 1 - _ERROR_RATE / (2 * family)
        reach = float(stats.t.ppf(level, self.degrees)) * self.error
        return self.value - reach, self.value + reach

    def sign(self, family: int = 1) -> int:
        """Returns 1 or -1 where the interval excludes 0, else 0."""
        interval = self.interval(family)
        if interval is None:
            return 0
        return 1 if interval[0] > 0 else (-1 if interval[1] < 0 else 0)


def of_points(
    points: points_lib.Points,
    column: str,
    weights: Sequence[tuple[points_lib.Point, float]],
) -> Difference:
    """Returns a weighted sum of means of points.

    Args:
        points: that the errors' degrees of freedom are of.
        column: a column that all of them have.
        weights: points with their weights.
    """
    value = sum(w * point.values[column].mean for point, w in weights)
    errors = [point.values[column].error for point, _ in weights]
    error = None
    if None not in errors:
        error = math.sqrt(sum((w * e) ** 2 for (_, w), e in zip(weights, errors)))
    return Difference(value, error, points.degrees[column])


def all_hold(
    differences: Mapping[str, Difference], numbers: Mapping[str, float] | None = None
) -> claim_lib.Verdict:
    """Judges a claim that all differences are above 0.

    It is supported if all of them are, and contradicted if one is below.

    Args:
        differences: by name, one at least.
        numbers: what the verdict shows; by default the differences.
    """
    family = len(differences)
    signs = {name: d.sign(family) for name, d in differences.items()}
    numbers = numbers or {name: d.value for name, d in differences.items()}
    if any(sign < 0 for sign in signs.values()):
        worse = ", ".join(name for name, sign in signs.items() if sign < 0)
        reason = f"against it: {worse}"
        return claim_lib.Verdict(claim_lib.Outcome.CONTRADICTED, numbers, reason)
    if all(sign > 0 for sign in signs.values()):
        return claim_lib.Verdict(claim_lib.Outcome.SUPPORTED, numbers)
    return claim_lib.Verdict(
        claim_lib.Outcome.UNDECIDED, numbers, _open(differences.items(), family)
    )


def any_holds(
    differences: Mapping[str, Difference],
    margin: float,
    numbers: Mapping[str, float] | None = None,
) -> claim_lib.Verdict:
    """Judges a claim that some difference, of either sign, is not 0.

    It is supported if one of them is, and contradicted if all of them lie within the
    margin.

    Args:
        differences: by name, one at least.
        margin: the largest difference that would not matter.
        numbers: what the verdict shows; by default the largest difference.
    """
    family = len(differences)
    largest = max(differences, key=lambda name: abs(differences[name].value))
    numbers = numbers or {largest: differences[largest].value}
    if any(d.sign(family) for d in differences.values()):
        return claim_lib.Verdict(claim_lib.Outcome.SUPPORTED, numbers)
    intervals = [d.interval(family) for d in differences.values()]
    if all(i is not None and max(map(abs, i)) <= margin for i in intervals):
        reason = f"all differences lie within {margin:g}"
        return claim_lib.Verdict(claim_lib.Outcome.CONTRADICTED, numbers, reason)
    return claim_lib.Verdict(
        claim_lib.Outcome.UNDECIDED, numbers, _open(differences.items(), family)
    )


def need(found: Iterable, what: str) -> list:
    """Returns what was found as a list.

    Raises:
        UndecidableError: nothing was; the message says what is needed.
    """
    found = list(found)
    if not found:
        raise observed.UndecidableError(f"there are no {what}")
    return found


def _open(differences: Iterable[tuple[str, Difference]], family: int) -> str:
    """Says why differences decide nothing."""
    pairs = list(differences)
    if any(d.error is None for _, d in pairs):
        return UNKNOWN
    told = ", ".join(name for name, d in pairs if d.sign(family) == 0)
    return f"not told from 0: {told}"
