"""The best size at equal training FLOPs, by the law of size and data.

FLOPs are k * N * D with one k, measured as a mean over the runs, since an
encoder-decoder's k is not 6. At a budget C the law's loss along D = C / (k N) has one
minimum, which is given only if it lies inside of the sizes and tokens that were
measured; elsewhere it would be the grid's edge and not the law's. A parabola through
the runs of a budget is biased even without noise, since the law is no parabola in
ln N: `parabola` is for drawing only.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from clinometer.tools.fit import loss_surface
from clinometer.tools.fit.errors import FitError


@dataclasses.dataclass(frozen=True)
class Work:
    """Training FLOPs as k * N * D.

    Attributes:
        factor: k, the geometric mean over runs.
        spread: largest over smallest k of the runs; 1 if they are exactly of this form.
    """

    factor: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The best size at a budget.

    Attributes:
        flops: the budget, training FLOPs.
        size: the best N, parameters; None if it was not measured.
        tokens: D there; likewise.
        loss: L there, nats; likewise.
        reason: why there is none.
    """

    flops: float
    size: float | None = None
    tokens: float | None = None
    loss: float | None = None
    reason: str | None = None


def work(
    size: Sequence[float], tokens: Sequence[float], flops: Sequence[float]
) -> Work:
    """Returns the k of FLOPs = k * N * D.

    Args:
        size: N of the runs, [n], positive.
        tokens: D, [n], positive.
        flops: training FLOPs, [n], positive.

    Raises:
        FitError: a value is not positive and finite, or there are no runs.
    """
    values = np.array([size, tokens, flops], np.float64)
    if values.size == 0 or not np.all(np.isfinite(values) & (values > 0)):
        raise FitError("size, tokens and flops must be positive and finite")
    factors = values[2] / (values[0] * values[1])
    return Work(
        float(np.exp(np.mean(np.log(factors)))), float(factors.max() / factors.min())
    )


def optimum(
    law: loss_surface.LossSurface,
    flops: float,
    of_work: Work,
    sizes: tuple[float, float],
    tokens: tuple[float, float],
) -> Optimum:
    """Returns the best size at a budget, if it was measured.

    Args:
        law: the law of size and data.
        flops: the budget C, training FLOPs.
        of_work: how FLOPs follow from N and D.
        sizes: smallest and largest measured N.
        tokens: smallest and largest measured D.
    """
    if law.size_coefficient <= 0 or law.data_coefficient <= 0:
        return Optimum(flops, reason="the loss does not depend on both size and data")
    a, b = law.size_exponent, law.data_exponent
    product = flops / of_work.factor  # N * D
    ratio = a * law.size_coefficient / (b * law.data_coefficient)
    best = (ratio * product**b) ** (1 / (a + b))
    found = product / best
    # The sizes whose tokens at this budget lie in the measured range.
    low = max(sizes[0], product / tokens[1])
    high = min(sizes[1], product / tokens[0])
    if not low < high:
        return Optimum(flops, reason="no measured size and length cost as much")
    if not low < best < high:
        where = "smallest" if best <= low else "largest"
        return Optimum(
            flops,
            reason=f"the minimum lies at {best:.3g} parameters, at or beyond the "
            f"{where} size measured at this budget ({low:.3g} to {high:.3g})",
        )
    return Optimum(flops, best, found, float(law.predict(best, found)))


def parabola(size: Sequence[float], loss: Sequence[float]) -> np.ndarray:
    """Returns the coefficients of a parabola in ln N, highest power first: [3].

    For drawing only, see the module.

    Args:
        size: N of the runs of one budget, [n], 3 or more distinct.
        loss: their losses, nats, [n].

    Raises:
        FitError: fewer than 3 distinct sizes.
    """
    distinct = len(np.unique(np.asarray(size, np.float64)))
    if distinct < 3:
        raise FitError(f"a parabola needs 3 or more distinct sizes, got {distinct}")
    return np.polyfit(np.log(np.asarray(size, np.float64)), loss, 2)
