"""Fits the slope of quality against cost to a few points, such as means of sizes.

The fit is ordinary least squares on transformed axes. It has no interval: the scatter
of the points around a line holds its lack of fit, and the error of their values is not
known here. `inference/line.py` gives an interval where runs are replicated. The
Theil-Sen slope, which is robust to one bad point, is given as well.

Tay et al. 2022 don't state the units of their slopes, so all usual variants are
available (`slope_variants`). The default is quality against log10 of cost. A larger
slope is always better: a loss is fitted as -loss, or as -ln(loss) if y is logged.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import math

import numpy as np

from clinometer.tools.fit.errors import FitError

_LOGS = {"none": None, "e": math.e, "2": 2.0, "10": 10.0}


@dataclasses.dataclass(frozen=True)
class SlopeFit:
    """A line v = intercept + slope * u, fitted in transformed coordinates.

    u is x or its logarithm. v is y or its logarithm, negated if lower y is better. Both
    are z-scores if `standardise` is set.

    Attributes:
        slope: of the least-squares line.
        intercept: of the least-squares line.
        r_squared: coefficient of determination; None if y does not vary.
        rmse: square root of the mean squared residual, in units of v.
        n: number of points.
        n_distinct: number of distinct x.
        residuals: [n], in units of v and in the order of the points.
        theil_sen_slope: median slope over pairs of points.
        logx: base of the logarithm of x, or "none".
        logy: base of the logarithm of y, or "none".
        standardise: whether u and v are z-scores.
        lower_is_better: whether v is negated.
        x_scale: mean and standard deviation that u was standardized with, else (0, 1).
    """

    slope: float
    intercept: float
    r_squared: float | None
    rmse: float
    n: int
    n_distinct: int
    residuals: tuple[float, ...]
    theil_sen_slope: float
    logx: str
    logy: str
    standardise: bool
    lower_is_better: bool
    x_scale: tuple[float, float]

    def transform_x(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns u of the given x, in float64 with the same shape."""
        center, scale = self.x_scale
        return (_log(np.asarray(x, np.float64), self.logx, "x") - center) / scale

    def predict(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns v of the fitted line at x, in float64 with the same shape."""
        return self.intercept + self.slope * self.transform_x(x)


def fit_slope(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    logx: str = "10",
    logy: str = "none",
    standardise: bool = False,
    lower_is_better: bool = False,
) -> SlopeFit:
    """Fits quality against cost by ordinary least squares.

    Args:
        x: costs, [n]; positive if logged.
        y: losses or scores, [n]; positive if logged.
        logx: base of the logarithm of x: "none", "e", "2" or "10".
        logy: base of the logarithm of y, likewise.
        standardise: fit z-scores of both axes; the slope is then the correlation.
        lower_is_better: y is a loss; v is then -y or -log y, so that higher is better.

    Raises:
        FitError: fewer than 2 distinct x, unequal lengths, values that are not finite,
            the logarithm of a value that is not positive, or an unknown option.
    """
    x, y = _points(x, y)
    n_distinct = len(np.unique(x))
    if n_distinct < 2:
        raise FitError(
            f"a slope needs points with 2 or more distinct x; got {len(x)} points with "
            f"{n_distinct} distinct x"
        )
    u = _log(x, logx, "x")
    v = _log(y, logy, "y")
    if lower_is_better:
        v = -v
    x_scale = (0.0, 1.0)
    if standardise:
        if np.ptp(v) == 0:
            raise FitError("y does not vary, so it cannot be standardized")
        x_scale = (float(u.mean()), float(u.std(ddof=1)))
        u = (u - x_scale[0]) / x_scale[1]
        v = (v - v.mean()) / v.std(ddof=1)

    # A report fits thousands of lines; SciPy's functions check each for a millisecond.
    du, dv = u - u.mean(), v - v.mean()
    slope = float(du @ dv / (du @ du))
    intercept = float(v.mean() - slope * u.mean())
    residuals = v - (intercept + slope * u)

    return SlopeFit(
        slope=slope,
        intercept=intercept,
        r_squared=slope * float(du @ dv / (dv @ dv)) if np.ptp(v) > 0 else None,
        rmse=float(np.sqrt(np.mean(residuals**2))),
        n=len(u),
        n_distinct=n_distinct,
        residuals=tuple(float(r) for r in residuals),
        theil_sen_slope=_median_slope(u, v),
        logx=logx,
        logy=logy,
        standardise=standardise,
        lower_is_better=lower_is_better,
        x_scale=x_scale,
    )


def slope_variants(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    lower_is_better: bool = False,
) -> list[SlopeFit]:
    """Fits all variants of the slope: logarithms of x and y, raw or standardized.

    x is plain or its logarithm to base 10, 2 or e; y is plain or its natural logarithm,
    if all y are positive. Standardized variants don't depend on the base of a
    logarithm, so they are fitted with only one.

    Args:
        x: costs, [n].
        y: losses or scores, [n].
        lower_is_better: as for `fit_slope`.

    Returns:
        The fits, beginning with the default (y against log10 of x).

    Raises:
        FitError: as for `fit_slope`.
    """
    logy_options = ("none", "e") if np.all(np.asarray(y) > 0) else ("none",)
    plain = itertools.product(logy_options, ("10", "2", "e", "none"), (False,))
    standardised = itertools.product(logy_options, ("10", "none"), (True,))
    if len(y) and np.ptp(np.asarray(y, np.float64)) == 0:
        standardised = iter(())
    return [
        fit_slope(
            x,
            y,
            logx=logx,
            logy=logy,
            standardise=standardise,
            lower_is_better=lower_is_better,
        )
        for logy, logx, standardise in itertools.chain(plain, standardised)
    ]


def _points(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Checks the points; returns them in float64."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise FitError(
            f"x and y must be lists of equal length, got shapes {x.shape} and {y.shape}"
        )
    for name, values in (("x", x), ("y", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise FitError(f"{name}[{bad[0]}] is {values[bad[0]]}, not a finite number")
    return x, y


def _median_slope(u: np.ndarray, v: np.ndarray) -> float:
    """Returns the median of the slopes of all pairs of points with different u."""
    rise, run = (np.subtract.outer(values, values) for values in (v, u))
    ordered = run > 0
    return float(np.median(rise[ordered] / run[ordered]))


def _log(values: np.ndarray, base: str, axis: str) -> np.ndarray:
    """Returns the logarithm to the given base, or the values for "none"."""
    if base not in _LOGS:
        raise FitError(
            f"log{axis} is {base!r}; accepted: {', '.join(map(repr, _LOGS))}"
        )
    if _LOGS[base] is None:
        return values
    if np.any(values <= 0):
        raise FitError(
            f"{axis} contains {values.min()}; a logarithm needs positive values"
        )
    return np.log(values) / math.log(_LOGS[base])
