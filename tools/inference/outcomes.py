"""What an interval and a margin say, in words that exclude each other.

The margin is committed before the runs: the largest difference that would not matter.
"""

import enum
import numbers

import numpy as np
from scipy import stats

from clinometer.tools.inference import errors


class Outcome(enum.StrEnum):
    """What is known about a difference."""

    EQUIVALENT = "equivalent"  # Inside the margin, 0 included.
    NEGLIGIBLE = "different, negligibly"  # Inside the margin, 0 excluded.
    UNDECIDED = "undecided"  # Reaches beyond the margin, 0 included.
    BETTER = "better"  # Reaches beyond the margin, on the good side of 0 only.
    WORSE = "worse"


def classify(
    low: np.ndarray,
    high: np.ndarray,
    margin: float | None,
    *,
    higher_is_better: bool,
) -> np.ndarray:
    """Sorts intervals into outcomes.

    Args:
        low: lower ends, units of the margin, [...].
        high: upper ends, [...].
        margin: above 0; None if none was committed, so that nothing is called
            equivalent or negligible.
        higher_is_better: whether a difference above 0 is good: so for a gain, and not
            for a loss.

    Returns:
        Values of `Outcome`, [...].

    Raises:
        InferenceError: the margin is not a finite number above 0.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    inside = np.zeros(low.shape, bool)
    if margin is not None:
        check_margin(margin)
        inside = (low > -margin) & (high < margin)
    holds_zero = (low <= 0) & (high >= 0)
    good = low > 0 if higher_is_better else high < 0
    return np.select(
        [inside & holds_zero, inside, holds_zero, good],
        [
            Outcome.EQUIVALENT.value,
            Outcome.NEGLIGIBLE.value,
            Outcome.UNDECIDED.value,
            Outcome.BETTER.value,
        ],
        Outcome.WORSE.value,
    )


def equivalence_p(
    value: np.ndarray, standard_error: np.ndarray, degrees: np.ndarray, margin: float
) -> np.ndarray:
    """P-value against "differs by the margin or more": two one-sided t tests.

    At or below 0.05 exactly where the 90 % interval lies inside +-margin.

    Args:
        value: differences, units of the margin, [...].
        standard_error: [...].
        degrees: of freedom, [...].
        margin: above 0.

    Returns:
        The larger p-value of the two tests, [...].

    Raises:
        InferenceError: the margin is not a finite number above 0.
    """
    check_margin(margin)
    value = np.asarray(value, np.float64)
    return stats.t.sf((margin - np.abs(value)) / standard_error, degrees)


def equivalence_power(
    standard_error: np.ndarray, degrees: np.ndarray, margin: float
) -> np.ndarray:
    """How often `equivalence_p` is at or below 0.05 where there is no difference.

    Args:
        standard_error: of the difference, taken as known, [...].
        degrees: of freedom, [...].
        margin: above 0, units of the standard error.

    Returns:
        Probability, [...].

    Raises:
        InferenceError: the margin is not a finite number above 0.
    """
    check_margin(margin)
    reach = margin / np.asarray(standard_error) - stats.t.ppf(0.95, degrees)
    return np.maximum(2 * stats.t.cdf(reach, degrees) - 1, 0)


def check_margin(margin: float) -> None:
    """Raises InferenceError unless the margin is a finite number above 0."""
    is_number = isinstance(margin, numbers.Real) and not isinstance(margin, bool)
    if not (is_number and np.isfinite(margin) and margin > 0):
        raise errors.InferenceError(
            f"margin is {margin}; accepted: a finite number of nats above 0"
        )
