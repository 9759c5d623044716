"""Fits the power law of Tay et al. 2021, appendix A: e = N_c * N^alpha + e_inf.

The constraints are alpha < 0 and 0 <= e_inf < min e. The fit uses variable projection:
for a given alpha, the best N_c and e_inf are a bounded linear least-squares problem, so
only alpha is searched. The search covers a grid of the whole range, so the result
doesn't depend on a starting point.

The interval of alpha is its profile: all alpha whose residual sum of squares is at most
(1 + t^2 / (n - 3)) times the smallest, with Student's t for n - 3 degrees of freedom.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import optimize

from clinometer.tools.fit import profiles
from clinometer.tools.fit.errors import FitError

_STEEPEST = -4.0
_FLATTEST = -1e-3
_GRID = 120
# The exponent is determined if its interval is narrower than this factor.
_DETERMINED_WITHIN = 2.0


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """A fitted power law, e = coefficient * N^exponent + floor.

    Attributes:
        coefficient: N_c, for e and N in their original units.
        exponent: alpha.
        floor: e_inf, in units of e.
        rmse: square root of the mean squared residual, in units of e.
        r_squared: coefficient of determination; NaN if e does not vary.
        residuals: [n], in the order of the points.
        interval: 95 % profile interval of the exponent; an end of its range where the
            interval reaches it.
    """

    coefficient: float
    exponent: float
    floor: float
    rmse: float
    r_squared: float
    residuals: tuple[float, ...]
    interval: tuple[float, float]

    @property
    def at_bound(self) -> bool:
        """Whether the interval reaches an end of the exponent's range."""
        return self.interval[0] <= _STEEPEST or self.interval[1] >= _FLATTEST

    @property
    def determined(self) -> bool:
        """Whether the points determine the law.

        They do if the exponent's interval does not reach an end of its range and is
        narrower than a factor of two.
        """
        steep, flat = self.interval
        return not self.at_bound and steep > _DETERMINED_WITHIN * flat

    def predict(self, size: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns e at the given sizes, in float64 with the same shape."""
        return self.coefficient * np.asarray(size, np.float64) ** self.exponent + (
            self.floor
        )


def fit_power_law(
    size: Sequence[float] | np.ndarray, error: Sequence[float] | np.ndarray
) -> PowerLaw:
    """Fits e = N_c * N^alpha + e_inf by least squares.

    Args:
        size: N, [n], positive. In the paper, the parameters including embeddings.
        error: e, [n], positive: the loss, or 1 - accuracy.

    Returns:
        The best fit for alpha in [-4, -0.001].

    Raises:
        FitError: fewer than 4 distinct sizes (3 constants can fit 3 points exactly), or
            values that are not positive and finite.
    """
    size, error = np.asarray(size, np.float64), np.asarray(error, np.float64)
    if size.ndim != 1 or size.shape != error.shape:
        raise FitError(
            "size and error must be lists of equal length, got shapes "
            f"{size.shape} and {error.shape}"
        )
    if not (np.all(np.isfinite(size)) and np.all(np.isfinite(error))):
        raise FitError("size and error must be finite numbers")
    if np.any(size <= 0) or np.any(error <= 0):
        raise FitError("size and error must be positive for a power law")
    distinct = len(np.unique(size))
    if distinct < 4:
        raise FitError(
            f"a power law (3 constants) needs 4 or more distinct sizes, got {distinct}"
        )

    # Scaled by the geometric mean, so that N^alpha is near 1 for every alpha.
    unit = float(np.exp(np.mean(np.log(size))))
    scaled = size / unit
    ceiling = float(error.min()) * (1 - 1e-12)

    def solve(alpha: float) -> tuple[float, float, float]:
        basis = scaled**alpha
        design = np.stack([basis, np.ones_like(basis)], axis=1)
        (coefficient, floor), norm = optimize.nnls(design, error)
        if floor > ceiling:  # The best of a convex problem is then on this bound.
            floor = ceiling
            (coefficient,), norm = optimize.nnls(design[:, :1], error - floor)
        return float(norm**2), float(coefficient), float(floor)

    grid = -np.geomspace(-_FLATTEST, -_STEEPEST, _GRID)  # From flat to steep.
    best = int(np.argmin([solve(alpha)[0] for alpha in grid]))
    low, high = grid[min(best + 1, _GRID - 1)], grid[max(best - 1, 0)]
    found = optimize.minimize_scalar(
        lambda alpha: solve(alpha)[0],
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12},
    )
    alpha = float(found.x) if found.fun <= solve(grid[best])[0] else float(grid[best])
    rss, coefficient, floor = solve(alpha)
    residuals = error - (coefficient * scaled**alpha + floor)
    total = float(np.sum((error - error.mean()) ** 2))
    return PowerLaw(
        coefficient=coefficient * unit**-alpha,
        exponent=alpha,
        floor=floor,
        rmse=float(np.sqrt(rss / len(size))),
        r_squared=1 - rss / total if total > 0 else float("nan"),
        residuals=tuple(float(r) for r in residuals),
        interval=profiles.interval(
            lambda a: solve(a)[0],
            alpha,
            grid,
            profiles.limit(rss, len(size), 3),
            float(np.sum(error**2)),
        ),
    )
