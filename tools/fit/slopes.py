"""The slope of a straight line through a few runs, with an honest interval.

Ordinary least squares on transformed axes, Student's t for the interval (with four
points it covers 94-95 % where a residual bootstrap covers 68 %), and a Theil-Sen line
beside it, which one bad run cannot tilt.

Tay et al. 2022 leave the units of their slopes open: every usual variant is reported
(`slope_variants`). The default is quality against log10 of cost. A larger slope is
always better: a loss is fitted as U = -loss, or as -ln(loss) where y is logged.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import math

import numpy as np
from scipy import stats

from clinometer.tools.fit.errors import FitError

_LOGS = {"none": None, "e": math.e, "2": 2.0, "10": 10.0}

# An interval needs at least one degree of freedom that is not a mere replicate.
_MIN_DISTINCT_FOR_INTERVAL = 3


@dataclasses.dataclass(frozen=True)
class SlopeFit:
    """A fitted line in transformed coordinates (u, v); residuals keep the input order.

    u = log(x) and v = log(y) in the bases named (or as given), v negated where lower y
    is better, both divided into z-scores if `standardise`.
    """

    slope: float
    intercept: float
    slope_stderr: float | None  # None with fewer than 3 distinct x.
    intercept_stderr: float | None
    interval: tuple[float, float] | None  # Student t, at `confidence`.
    confidence: float
    r_squared: float | None  # None where y does not vary.
    rmse: float  # sqrt(mean squared residual), units of v.
    n: int
    n_distinct: int  # Distinct x.
    residuals: tuple[float, ...]
    theil_sen_slope: float
    theil_sen_intercept: float
    theil_sen_interval: tuple[float, float] | None
    logx: str
    logy: str
    standardise: bool
    lower_is_better: bool
    x_scale: tuple[float, float]  # Mean and standard deviation taken out of u, or 0, 1.
    u_mean: float
    u_sum_squares: float  # sum (u - mean)^2

    def transform_x(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """U of the given x: float64, same shape."""
        center, scale = self.x_scale
        return (_log(np.asarray(x, np.float64), self.logx, "x") - center) / scale

    def predict(self, x: Sequence[float] | np.ndarray) -> np.ndarray:
        """V on the fitted line at x: float64, same shape."""
        return self.intercept + self.slope * self.transform_x(x)

    def band(self, x: Sequence[float] | np.ndarray) -> np.ndarray | None:
        """Half-width of the confidence band of the line at x, or None without one."""
        if self.slope_stderr is None:
            return None
        # slope_stderr = s / sqrt(sum squares), so s comes back from it.
        s = self.slope_stderr * math.sqrt(self.u_sum_squares)
        u = self.transform_x(x)
        t = stats.t.ppf(0.5 + self.confidence / 2, self.n - 2)
        return t * s * np.sqrt(1 / self.n + (u - self.u_mean) ** 2 / self.u_sum_squares)


def fit_slope(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    logx: str = "10",
    logy: str = "none",
    standardise: bool = False,
    lower_is_better: bool = False,
    confidence: float = 0.95,
) -> SlopeFit:
    """Fits quality against cost by ordinary least squares.

    Args:
      x: costs, [n]; positive where logged.
      y: losses or scores, [n]; positive where logged.
      logx: "none", "e", "2" or "10".
      logy: likewise.
      standardise: fit z-scores of both axes; the slope is then the correlation.
      lower_is_better: y is a loss, so v = -y (or -log y): up is better.
      confidence: of the two-sided Student-t interval, between 0 and 1.

    Returns:
      The fit; without an interval when x has fewer than 3 distinct values.

    Raises:
      FitError: fewer than 2 distinct x, unequal lengths, values not finite, a
        logarithm of a value that is not positive, or an unknown option.
    """
    x, y = _points(x, y)
    if not 0 < confidence < 1:
        raise FitError(f"confidence must lie between 0 and 1, not {confidence}")
    n_distinct = len(np.unique(x))
    if n_distinct < 2:
        raise FitError(
            f"a slope needs points at 2 or more distinct x; {len(x)} given, "
            f"{n_distinct} distinct"
        )
    u = _log(x, logx, "x")
    v = _log(y, logy, "y")
    if lower_is_better:
        v = -v
    x_scale = (0.0, 1.0)
    if standardise:
        if np.ptp(v) == 0:
            raise FitError("y does not vary, so it cannot be standardised")
        x_scale = (float(u.mean()), float(u.std(ddof=1)))
        u = (u - x_scale[0]) / x_scale[1]
        v = (v - v.mean()) / v.std(ddof=1)

    n = len(u)
    line = stats.linregress(u, v)
    residuals = v - (line.intercept + line.slope * u)

    slope_stderr = intercept_stderr = interval = None
    if n_distinct >= _MIN_DISTINCT_FOR_INTERVAL:
        slope_stderr = float(line.stderr)
        intercept_stderr = float(line.intercept_stderr)
        reach = float(stats.t.ppf(0.5 + confidence / 2, n - 2)) * slope_stderr
        interval = (float(line.slope) - reach, float(line.slope) + reach)

    ts = stats.theilslopes(v, u, alpha=confidence)
    return SlopeFit(
        slope=float(line.slope),
        intercept=float(line.intercept),
        slope_stderr=slope_stderr,
        intercept_stderr=intercept_stderr,
        interval=interval,
        confidence=confidence,
        r_squared=float(line.rvalue**2) if np.ptp(v) > 0 else None,
        rmse=float(np.sqrt(np.mean(residuals**2))),
        n=n,
        n_distinct=n_distinct,
        residuals=tuple(float(r) for r in residuals),
        theil_sen_slope=float(ts[0]),
        theil_sen_intercept=float(ts[1]),
        theil_sen_interval=(float(ts[2]), float(ts[3])) if interval else None,
        logx=logx,
        logy=logy,
        standardise=standardise,
        lower_is_better=lower_is_better,
        x_scale=x_scale,
        u_mean=float(u.mean()),
        u_sum_squares=float(n * u.var()),
    )


def slope_variants(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    lower_is_better: bool = False,
    confidence: float = 0.95,
) -> list[SlopeFit]:
    """Every reading of "slope": log x in 4 bases, y plain or ln, raw or standardised.

    The first is the default (y against log10 x). Standardising makes the base of a
    logarithm drop out, so it appears once per kind of axis. y is logged only where it
    is positive throughout. Errors as in `fit_slope`.
    """
    logy_options = ("none", "e") if np.all(np.asarray(y) > 0) else ("none",)
    plain = itertools.product(logy_options, ("10", "2", "e", "none"), (False,))
    standardised = itertools.product(logy_options, ("10", "none"), (True,))
    if np.ptp(np.asarray(y, np.float64)) == 0:
        standardised = iter(())
    return [
        fit_slope(
            x,
            y,
            logx=logx,
            logy=logy,
            standardise=standardise,
            lower_is_better=lower_is_better,
            confidence=confidence,
        )
        for logy, logx, standardise in itertools.chain(plain, standardised)
    ]


def _points(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Checked float64 copies of the points."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise FitError(f"x and y must be two lists of one length: {x.shape}, {y.shape}")
    for name, values in (("x", x), ("y", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise FitError(f"{name}[{bad[0]}] is {values[bad[0]]}, not a finite number")
    return x, y


def _log(values: np.ndarray, base: str, axis: str) -> np.ndarray:
    """Logarithm in the named base; "none" returns the values."""
    if base not in _LOGS:
        raise FitError(
            f"log{axis} is {base!r}; accepted: {', '.join(map(repr, _LOGS))}"
        )
    if _LOGS[base] is None:
        return values
    if np.any(values <= 0):
        raise FitError(
            f"{axis} holds {values.min()}; its logarithm needs values above 0"
        )
    return np.log(values) / math.log(_LOGS[base])
