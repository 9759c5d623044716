"""A size that was not fitted, predicted by a power law with a floor, then judged.

loss(C) = floor + coefficient * C^-exponent, with all three at or above 0, is fitted to
one architecture's means by generalised least squares. The interval is the profile
likelihood's: every new loss with which some law still fits, the new runs' own variance
added. A straight line or a parabola in log10 C would not do: with four sizes a line's
interval covers 72 % under mild curvature, and a parabola turns upwards.
"""

import dataclasses
import enum

import numpy as np
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors
from clinometer.tools.inference import floor_law
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance as variance_lib

# An exponent is determined if its interval's ends differ by no more than this factor.
_DETERMINED_WITHIN = 2.0


class Verdict(enum.StrEnum):
    """What a new size says about the prediction."""

    CONTRADICTED = "contradicted"  # Outside the interval.
    SUPPORTED = "supported"  # Inside an interval narrower than the predicted step.
    UNINFORMATIVE = "uninformative"  # Inside, but so would nearly anything have been.


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The predicted mean loss of new runs; arrays [...] over data sets.

    Attributes:
        flops: training FLOPs of the new size.
        value: the predicted mean loss, nats.
        low: low end of the 95 % interval for the mean of the new runs, nats.
        high: high end of this interval.
        step: predicted gain over the largest size fitted, nats.
        exponent: exponent of the power law.
        exponent_low: low end of its 95 % profile interval.
        exponent_high: high end of its 95 % profile interval.
        degrees: degrees of freedom of the t quantile.
    """

    flops: float
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step: np.ndarray
    exponent: np.ndarray
    exponent_low: np.ndarray
    exponent_high: np.ndarray
    degrees: np.ndarray

    @property
    def determined(self) -> np.ndarray:
        """Whether the exponent's interval is narrow and clear of the grid's ends."""
        clear = (self.exponent_low > floor_law.EXPONENTS[0]) & (
            self.exponent_high < floor_law.EXPONENTS[-1]
        )
        return clear & (self.exponent_high <= _DETERMINED_WITHIN * self.exponent_low)

    @property
    def narrow(self) -> np.ndarray:
        """Whether the interval is narrower than the predicted step."""
        return self.high - self.low < self.step


@dataclasses.dataclass(frozen=True, eq=False)
class OwnVariance:
    """The variance of a mean of new runs around the law; arrays [...].

    Attributes:
        value: variance of the new runs' mean, nats^2.
        degrees: degrees of freedom of this variance.
    """

    value: np.ndarray
    degrees: np.ndarray


def own_variance(
    fitted: linear_model.Fit, width: int, runs: int, orders: int
) -> OwnVariance:
    """The variance of new runs' mean, with orders as random draws.

    This is the one place where orders are random: the new runs bring orders of their
    own, and the fitted means are conditional on the old ones.

    Args:
        fitted: the model.
        width: d_model of the new size; the variance is extrapolated to it.
        runs: new runs, 1 or more, spread evenly over the orders.
        orders: new orders among them.

    Raises:
        InferenceError: the design has one order only, or runs and orders do not fit.
    """
    design = fitted.design
    if not 1 <= orders <= runs:
        raise errors.InferenceError(
            f"orders is {orders} for {runs} runs; accepted: 1 to the number of runs"
        )
    check_orders(design)
    k = len(design.orders)
    noise = fitted.variance.of_widths(np.array([width]))[..., 0] / runs
    between, between_degrees = order_variance(fitted)
    between = between * (1 / orders + 1 / k)
    total = noise + between
    degrees = total**2 / (
        noise**2 / fitted.variance.degrees(width) + between**2 / between_degrees
    )
    return OwnVariance(total, degrees)


def check_orders(design: design_lib.Design) -> None:
    """Raises InferenceError unless the variance between orders can be estimated."""
    if len(design.orders) < 2 or design.blocks.max() > 0:
        raise errors.InferenceError(
            "order: a prediction needs the variance between orders; run the study in "
            "two or more orders that share cells"
        )


def check_sizes(design: design_lib.Design, architecture: str) -> np.ndarray:
    """Returns an architecture's cells; raises InferenceError if there are too few."""
    return design.check_sizes(architecture, 4, "a power law with a floor")


def order_variance(fitted: linear_model.Fit) -> tuple[np.ndarray, np.ndarray]:
    """The variance between orders by moments, 0 at least, and degrees of freedom.

    Returns:
        nats^2 and degrees, [...] each.
    """
    design = fitted.design
    relative, _ = variance_lib.relative_order_covariance(design, fitted.variance.slope)
    error = np.exp(fitted.variance.level) * np.trace(relative, axis1=-2, axis2=-1)
    rank = design.order_basis.shape[1]
    squares = np.sum(fitted.order_effects**2, axis=-1)
    return np.maximum(squares - error, 0) / rank, np.full(squares.shape, float(rank))


def predict(
    fitted: linear_model.Fit,
    architecture: str,
    flops: float,
    own: OwnVariance,
    confidence: float = 0.95,
) -> Prediction:
    """Predicts an architecture's loss at a cost beyond its sizes.

    Args:
        fitted: the model.
        architecture: whose law.
        flops: training FLOPs of the new size.
        own: variance of the new runs' mean.
        confidence: of the intervals.

    Raises:
        InferenceError: fewer than four sizes (three constants fit three points
            exactly), or a cost that is not above 0.
    """
    design = fitted.design
    cells = check_sizes(design, architecture)
    if not (np.isfinite(flops) and flops > 0):
        raise errors.InferenceError(f"flops is {flops}; accepted: a number above 0")
    costs = design.flops_of(cells)
    unit = np.exp(np.mean(np.log(costs)))
    units = np.stack([contrasts.unit(design, i) for i in cells])
    covariance, degrees = contrasts.precision(fitted.variance, units)
    law = floor_law.FloorLaw(
        np.log(costs / unit),
        float(np.log(flops / unit)),
        fitted.means[..., cells],
        np.linalg.inv(covariance),
    )
    exponents = law.coarse()
    misfit, values = law.of_means(exponents)  # [exponents, ...] each
    rough = floor_law.EXPONENTS[np.argmin(misfit, axis=0)]
    own_degrees = _degrees(law, rough, degrees.min(axis=-1), own)
    reach = stats.t.ppf(0.5 + confidence / 2, own_degrees) ** 2
    for _ in range(2):
        exponents = law.refined(exponents, misfit, reach)
        misfit, values = law.of_means(exponents)
    best = np.argmin(misfit, axis=0)[np.newaxis]
    value = np.take_along_axis(values, best, axis=0)[0]
    allowed = misfit.min(axis=0) + reach
    fits = misfit <= allowed
    low, high = law.of_new(exponents, own.value, allowed)
    return Prediction(
        flops=float(flops),
        value=value,
        low=low,
        high=high,
        step=fitted.means[..., cells[-1]] - value,
        exponent=np.take_along_axis(exponents, best, axis=0)[0],
        exponent_low=np.min(np.where(fits, exponents, np.inf), axis=0),
        exponent_high=np.max(np.where(fits, exponents, -np.inf), axis=0),
        degrees=own_degrees,
    )


def judge(prediction: Prediction, observed: np.ndarray | float) -> np.ndarray:
    """Sorts the new runs' mean loss into verdicts.

    Args:
        prediction: made beforehand.
        observed: mean loss of the new runs, nats, [...].

    Returns:
        Values of `Verdict`, [...].
    """
    observed = np.asarray(observed, np.float64)
    outside = (observed < prediction.low) | (observed > prediction.high)
    return np.select(
        [outside, prediction.determined & prediction.narrow],
        [Verdict.CONTRADICTED.value, Verdict.SUPPORTED.value],
        Verdict.UNINFORMATIVE.value,
    )


def _degrees(law, exponent, of_means, own: OwnVariance) -> np.ndarray:
    """Satterthwaite's degrees of freedom of law and own variance together: [...]."""
    variance = law.variance(exponent)
    return (variance + own.value) ** 2 / (
        variance**2 / of_means + own.value**2 / own.degrees
    )
