"""A straight line through one architecture's means: loss against log10 of a cost.

Generalised least squares with the means' covariance. Beside it stands the test of lack
of fit with its power: with a handful of sizes it rarely finds even a threefold change
of slope, so a line that is not rejected licenses no other inference.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance as variance_lib

_STEP = 1e-4  # Of the slope of ln sigma^2, for a central difference.


@dataclasses.dataclass(frozen=True)
class Line:
    """A fitted line; the gain is above 0 where loss falls with the cost.

    Attributes:
        architecture: the architecture.
        gain_per_decade: nats per tenfold cost.
        standard_error: of `gain_per_decade`.
        degrees: degrees of freedom of its t quantile.
        low: low end of its 95 % interval, which holds if the relation is straight.
        high: high end of this interval.
        loss_at_center: loss at the center, nats.
        center: geometric mean of the sizes' costs.
        center_covariance: covariance of `loss_at_center` with itself and with the gain.
        lack_of_fit_p: p-value of the F test against any other shape.
        lack_of_fit_power: pairs of a change of the slope and the power to find it.
    """

    architecture: str
    gain_per_decade: float
    standard_error: float
    degrees: float
    low: float
    high: float
    loss_at_center: float
    center: float
    center_covariance: tuple[float, float]
    lack_of_fit_p: float
    lack_of_fit_power: tuple[tuple[float, float], ...]

    def predict(self, costs: np.ndarray) -> np.ndarray:
        """Loss of the line at these costs, nats, same shape."""
        return self.loss_at_center - self.gain_per_decade * self._decades(costs)

    def reach(self, costs: np.ndarray) -> np.ndarray:
        """Half-width of the line's pointwise 95 % band there, nats, same shape."""
        u = self._decades(costs)
        own, shared = self.center_covariance
        variance = own - 2 * u * shared + u**2 * self.standard_error**2
        return stats.t.ppf(0.975, self.degrees) * np.sqrt(variance)

    def _decades(self, costs: np.ndarray) -> np.ndarray:
        return np.log10(np.asarray(costs, np.float64) / self.center)


def fit_line(
    fitted: linear_model.Fit,
    architecture: str,
    changes: Sequence[float] = (2.0, 3.0),
    costs: Mapping[int, float] | None = None,
) -> Line:
    """Fits one architecture's line in one data set.

    Args:
        fitted: the model.
        architecture: whose sizes to use.
        changes: factors by which the slope falls from the low end to the high end, for
            which to give the power of the lack-of-fit test at 5 %.
        costs: index of a cell -> its cost, above 0, for each cell to use; by default
            the training FLOPs of all cells of the architecture.

    Raises:
        InferenceError: fewer than three sizes, sizes of one cost, or orders that stand
            between the sizes.
    """
    design = fitted.design
    purpose = "a line with a test of its fit"
    cells = design.check_sizes(architecture, 3, purpose)
    if costs is None:
        x = np.log10(design.flops_of(cells))
    else:
        cells = np.array(sorted(set(cells) & set(costs), key=lambda i: costs[i]), int)
        if len(cells) < 3:
            raise errors.InferenceError(
                f"width: {purpose} needs 3 or more sizes; {architecture} has "
                f"{len(cells)} with this cost"
            )
        x = np.log10([costs[i] for i in cells])
    contrasts.decades(10 ** x[0], 10 ** x[-1])
    units = np.stack([contrasts.unit(design, i) for i in cells])
    center = x.mean()
    model = np.stack([np.ones_like(x), center - x], axis=1)  # [sizes, 2]
    weight, solver = _least_squares(fitted.variance, units, model)
    means = fitted.means[cells]
    slope = contrasts.estimate(fitted, solver[1:] @ units)
    of_both, _ = contrasts.precision(fitted.variance, solver @ units)
    gain, degrees = float(slope.value[0]), float(slope.degrees[0])
    error = float(
        np.sqrt(
            slope.covariance[0, 0]
            + 2 * _variance_of_weights(fitted.variance, units, model)
        )
    )
    reach = float(stats.t.ppf(0.975, degrees)) * error

    # Lack of fit: F on the sizes - 2 directions that a line leaves, each a contrast.
    leave = weight - weight @ model @ solver
    values, vectors = np.linalg.eigh(leave)
    directions = (vectors * np.sqrt(np.maximum(values, 0))).T[2:]  # [sizes - 2, sizes]
    numerator = len(x) - 2
    _, each = contrasts.precision(fitted.variance, directions @ units)
    denominator = _denominator_degrees(each)
    statistic = float(np.sum((directions @ means) ** 2)) / numerator
    critical = stats.f.ppf(0.95, numerator, denominator)
    power = []
    for change in changes:
        bend = directions @ _bend(x, gain, change)
        shift = float(np.sum(bend**2))
        power.append(
            (
                float(change),
                float(stats.ncf.sf(critical, numerator, denominator, shift)),
            )
        )
    return Line(
        architecture=architecture,
        gain_per_decade=gain,
        standard_error=error,
        degrees=degrees,
        low=gain - reach,
        high=gain + reach,
        loss_at_center=float(solver[0] @ means),
        center=float(10**center),
        center_covariance=(float(of_both[0, 0]), float(of_both[0, 1])),
        lack_of_fit_p=float(stats.f.sf(statistic, numerator, denominator)),
        lack_of_fit_power=tuple(power),
    )


def _least_squares(
    variance: variance_lib.Variance, units: np.ndarray, model: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse covariance of the means, and the coefficients' rows over the means."""
    covariance, _ = contrasts.precision(variance, units)
    weight = np.linalg.inv(covariance)
    return weight, np.linalg.solve(model.T @ weight @ model, model.T @ weight)


def _variance_of_weights(
    variance: variance_lib.Variance, units: np.ndarray, model: np.ndarray
) -> float:
    """What estimated weights add to the slope's variance: (nats per decade)^2.

    They add it once to the slope and take it once from the usual estimate of its
    variance, so twice this makes up for both (Kackar and Harville 1984, Kenward and
    Roger 1997). The weights change with the slope of ln sigma^2 only.
    """
    if not variance.has_slope:
        return 0.0
    rows = [
        _least_squares(
            dataclasses.replace(variance, slope=variance.slope + step), units, model
        )[1][1]
        for step in (-_STEP, _STEP)
    ]
    change = (rows[1] - rows[0]) / (2 * _STEP)
    covariance, _ = contrasts.precision(variance, units)
    return float(variance.parameter_covariance()[1, 1] * change @ covariance @ change)


def _bend(x: np.ndarray, gain: float, change: float) -> np.ndarray:
    """Loss whose gain per decade falls by a factor over the range, its mean kept."""
    u = (x - x[0]) / (x[-1] - x[0])
    last = 2 * gain / (1 + change)
    first = change * last
    return -(x[-1] - x[0]) * (first * u + (last - first) * u**2 / 2)


def _denominator_degrees(each: np.ndarray) -> float:
    """Degrees of freedom of F from those of its independent t^2 (Fai and Cornelius)."""
    if np.any(each <= 2):
        return float(np.min(each))
    total = float(np.sum(each / (each - 2)))
    return 2 * total / (total - len(each))
