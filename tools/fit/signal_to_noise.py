"""Signal to noise of a score over sizes, to be looked at before any slope of it.

The signal is the range of the sizes' means, the noise the standard error of a mean.
The range of k means of one distribution is itself above 0, so it counts as signal only
if it exceeds the studentized range that noise alone exceeds in 5 % of cases.
"""

from collections.abc import Sequence
import dataclasses
import functools

import numpy as np
from scipy import stats

from clinometer.tools.fit.errors import FitError


@dataclasses.dataclass(frozen=True)
class Signal:
    """What a score's differences between sizes are worth.

    Attributes:
        spread: largest mean less the smallest, in units of the score.
        noise: standard error of a mean, likewise; None if unknown.
        threshold: the ratio that noise alone exceeds in 5 % of cases; likewise.
        sizes: number of means.
    """

    spread: float
    noise: float | None
    threshold: float | None
    sizes: int

    @property
    def ratio(self) -> float | None:
        """Signal over noise; None if the noise is unknown."""
        if self.noise is None:
            return None
        return self.spread / self.noise if self.noise > 0 else float("inf")

    @property
    def clear(self) -> bool | None:
        """Whether the sizes differ by more than noise; None if that is unknown."""
        ratio = self.ratio
        return None if ratio is None else ratio > self.threshold


def measure(
    means: Sequence[float], errors: Sequence[float | None], degrees: float = np.inf
) -> Signal:
    """Measures the signal of a score.

    Args:
        means: of the sizes, [k], 2 or more.
        errors: their standard errors, [k]; None where unknown. The quadratic mean of
            them is the noise, and it is unknown if one of them is.
        degrees: degrees of freedom of the errors.

    Raises:
        FitError: fewer than 2 means.
    """
    if len(means) < 2:
        raise FitError(f"a signal needs the means of 2 or more sizes, got {len(means)}")
    spread = float(np.max(means) - np.min(means))
    if any(error is None for error in errors):
        return Signal(spread, None, None, len(means))
    noise = float(np.sqrt(np.mean(np.square(np.asarray(errors, np.float64)))))
    return Signal(spread, noise, _threshold(len(means), degrees), len(means))


@functools.lru_cache(maxsize=256)
def _threshold(means: int, degrees: float) -> float:
    # SciPy's studentized range takes infinite degrees as 100,000.
    return float(stats.studentized_range.ppf(0.95, means, min(degrees, 1e5)))
