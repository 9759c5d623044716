"""Whether an architecture and the reference change places between the range's ends.

A crossover needs D above 0 at one end and below 0 at the other, so its p-value is the
larger of the two one-sided ones (an intersection-union test). The direction is the one
seen; each direction alone errs at the stated rate, and so do both together unless the
two ends' estimates are strongly negatively correlated, where the p-value is doubled.
Holm's adjustment runs over the architectures.
"""

from collections.abc import Sequence
import dataclasses
import enum

import numpy as np
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import simultaneous

# Below this correlation the two directions together can err more often than one does.
_DOUBLED_BELOW = -0.5


class Crossing(enum.StrEnum):
    """What is known about the sign of D at the two ends."""

    OVERTAKES = "worse at the low end, better at the high end"
    FALLS_BEHIND = "better at the low end, worse at the high end"
    NONE = "no change of sign between the ends"


@dataclasses.dataclass(frozen=True)
class Crossover:
    """One architecture against the reference.

    Attributes:
        architecture: the architecture.
        low: D at the low end of the shared range, nats.
        high: D at the high end, nats.
        p_value: adjusted by Holm over the architectures.
        crossing: which way D changes sign between the ends, if it does.
    """

    architecture: str
    low: float
    high: float
    p_value: float
    crossing: Crossing


def p_values(
    fitted: linear_model.Fit, comparisons: Sequence[equal_compute.Comparison]
) -> tuple[np.ndarray, contrasts.Estimates]:
    """Holm's adjusted p-values of a crossover, one an architecture.

    Args:
        fitted: the model.
        comparisons: the family, m of them.

    Returns:
        P-values [..., m], and the estimates of D: low ends, then high ends, [..., 2m].

    Raises:
        InferenceError: orders stand between the cells of a comparison.
    """
    estimates = ends(fitted, comparisons)
    return simultaneous.holm(p_of_ends(estimates)), estimates


def ends(
    fitted: linear_model.Fit, comparisons: Sequence[equal_compute.Comparison]
) -> contrasts.Estimates:
    """Estimates of D: the low ends of the m comparisons, then the high ends, [..., 2m].

    Raises:
        InferenceError: orders stand between the cells of a comparison.
    """
    rows = [c.low for c in comparisons] + [c.high for c in comparisons]
    return contrasts.estimate(fitted, np.array(rows))


def p_of_ends(estimates: contrasts.Estimates) -> np.ndarray:
    """P-values of a crossover, one an architecture, before Holm's adjustment.

    Args:
        estimates: see `ends`.

    Returns:
        P-values [..., m].
    """
    m = estimates.value.shape[-1] // 2
    above = estimates.p_above()
    below = stats.t.cdf(estimates.value / estimates.standard_error, estimates.degrees)
    overtakes = np.maximum(above[..., :m], below[..., m:])
    falls_behind = np.maximum(below[..., :m], above[..., m:])
    raw = np.minimum(overtakes, falls_behind)
    between_ends = np.diagonal(estimates.correlation[..., :m, m:], axis1=-2, axis2=-1)
    return np.where(between_ends < _DOUBLED_BELOW, np.minimum(2 * raw, 1), raw)


def crossovers(
    fitted: linear_model.Fit,
    comparisons: Sequence[equal_compute.Comparison],
    error_rate: float = 0.05,
) -> list[Crossover]:
    """Judges one data set's crossovers, in the order of the comparisons.

    Args:
        fitted: the model.
        comparisons: the family.
        error_rate: of the family.

    Raises:
        InferenceError: as `p_values`.
    """
    adjusted, estimates = p_values(fitted, comparisons)
    low, high = np.split(estimates.value, 2)
    found = []
    for comparison, p, at_low, at_high in zip(comparisons, adjusted, low, high):
        crossing = Crossing.NONE
        if p <= error_rate:
            crossing = Crossing.OVERTAKES if at_low > 0 else Crossing.FALLS_BEHIND
        found.append(
            Crossover(
                comparison.architecture,
                float(at_low),
                float(at_high),
                float(p),
                crossing,
            )
        )
    return found
