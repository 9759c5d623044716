"""A level as a factor of compute: how much more an architecture needs for equal loss.

The factor is 10^(level / gain), the gain being the reference's per tenfold FLOPs. Its
interval is Fieller's, with the quantile of the level's family, so that it holds 1
exactly where the level's simultaneous interval holds 0. Where the gain is not clearly
different from 0 the interval is unbounded, and said to be.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import simultaneous


@dataclasses.dataclass(frozen=True)
class Factor:
    """A factor of compute with its interval.

    Attributes:
        value: the factor of compute; NaN where the reference does not gain.
        low: low end of the interval; 0 where unbounded.
        high: high end of the interval; infinity where unbounded.
        excluded: factors ruled out of an unbounded interval.
    """

    value: float
    low: float
    high: float
    excluded: tuple[float, float] | None

    @property
    def bounded(self) -> bool:
        """Whether the data bound the factor at all."""
        return math.isfinite(self.high) and self.low > 0

    def __str__(self) -> str:
        if math.isnan(self.value) and self.bounded:
            return "undefined: the reference does not gain"
        if self.bounded:
            return f"{_text(self.value)}× [{_text(self.low)}, {_text(self.high)}]"
        if self.excluded is None:
            return "unbounded: any factor fits"
        low, high = self.excluded
        return (
            f"unbounded: any factor fits but those from {_text(low)} to {_text(high)}"
        )


@dataclasses.dataclass(frozen=True)
class Multiplier:
    """How much more compute than the reference an architecture needs for equal loss.

    Attributes:
        architecture: the architecture.
        average: the factor by the reference's gain over the shared range.
        at_low_end: the same level, by the reference's step at the low end.
        at_high_end: the same level, by the reference's step at the high end.
    """

    architecture: str
    average: Factor
    at_low_end: Factor
    at_high_end: Factor


def fieller(
    value: np.ndarray, covariance: np.ndarray, quantile: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The set of ratios r with |a - r b| <= quantile * its standard error.

    Args:
        value: estimates of a and b, [..., 2].
        covariance: theirs, [..., 2, 2].
        quantile: [...].

    Returns:
        Bounds low and high, and `inside`, [...] each. The set is low..high where
        `inside` is true, everything but low..high where it is false; where every ratio
        fits, both bounds are NaN and `inside` is false.
    """
    a, b = value[..., 0], value[..., 1]
    squared = np.asarray(quantile) ** 2
    # second r^2 - 2 first r + zeroth <= 0
    second = b**2 - squared * covariance[..., 1, 1]
    first = a * b - squared * covariance[..., 0, 1]
    zeroth = a**2 - squared * covariance[..., 0, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(first**2 - second * zeroth)
        ends = np.stack([(first - root) / second, (first + root) / second])
    return ends.min(axis=0), ends.max(axis=0), second > 0


def factor(value: np.ndarray, covariance: np.ndarray, quantile: float) -> Factor:
    """10^(a / b) with Fieller's interval.

    Args:
        value: the level a, nats, and the gain b, nats per decade of FLOPs: [2].
        covariance: theirs, [2, 2].
        quantile: of the level's interval.
    """
    low, high, inside = fieller(value, covariance, quantile)
    point = _power(value[0] / value[1]) if value[1] > 0 else float("nan")
    if inside:
        return Factor(point, _power(low), _power(high), None)
    excluded = None if np.isnan(low) else (_power(low), _power(high))
    return Factor(point, 0.0, float("inf"), excluded)


def multipliers(
    fitted: linear_model.Fit,
    comparisons: Sequence[equal_compute.Comparison],
    levels: simultaneous.Family,
) -> list[Multiplier]:
    """Each level as a factor of compute, in one data set.

    Args:
        fitted: the model.
        comparisons: m of them.
        levels: the family of their levels, in the same order.
    """
    found = []
    for comparison in comparisons:
        gains = (
            comparison.reference_gain / comparison.decades,
            *equal_compute.step_gains(fitted.design, comparison),
        )
        factors = []
        for row in gains:
            pair = contrasts.estimate(fitted, np.stack([comparison.level, row]))
            factors.append(factor(pair.value, pair.covariance, float(levels.quantile)))
        found.append(Multiplier(comparison.architecture, *factors))
    return found


def _text(factor: float) -> str:
    """Two digits, with zeros at their end."""
    if not 0.01 <= factor < 10:
        return f"{factor:.2g}"
    return (
        f"{factor:.1f}"
        if factor >= 1
        else f"{factor:.2f}"
        if factor >= 0.1
        else f"{factor:.3f}"
    )


def _power(exponent: float) -> float:
    """10^exponent, without overflow."""
    return 10.0 ** float(np.clip(exponent, -300, 300))
