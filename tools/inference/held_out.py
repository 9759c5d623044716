"""A size that was not fitted, predicted by a power law with a floor, then judged.

loss(C) = floor + coefficient * C^-exponent, with all three at or above 0, is fitted to
one architecture's means by generalised least squares. The interval is the profile
likelihood's: every new loss with which some law still fits, the new runs' own variance
added. Given the exponent the law is linear, so only the exponent is searched, on a
grid. A straight line or a parabola in log10 C would not do: with four sizes a line's
interval covers 72 % under mild curvature, and a parabola turns upwards.
"""

import dataclasses
import enum

import numpy as np
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance as variance_lib

_EXPONENTS = np.geomspace(0.01, 4, 160)
# An exponent is determined if its interval's ends differ by no more than this factor.
_DETERMINED_WITHIN = 2.0
# Columns of (C^-exponent, 1) in use: both, no floor, no gain.
_FORMS = ((0, 1), (0,), (1,))


class Verdict(enum.StrEnum):
    """What a new size says about the prediction."""

    CONTRADICTED = "contradicted"  # Outside the interval.
    SUPPORTED = "supported"  # Inside an interval narrower than the predicted step.
    UNINFORMATIVE = "uninformative"  # Inside, but so would nearly anything have been.


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The predicted mean loss of new runs; arrays [...] over data sets."""

    flops: float  # Training FLOPs of the new size.
    value: np.ndarray  # Nats.
    low: np.ndarray  # 95 % interval for the mean of the new runs, nats.
    high: np.ndarray
    step: np.ndarray  # Predicted gain over the largest size fitted, nats.
    exponent: np.ndarray
    exponent_low: np.ndarray  # Its 95 % profile interval.
    exponent_high: np.ndarray
    degrees: np.ndarray  # Of the t quantile.

    @property
    def determined(self) -> np.ndarray:
        """Whether the exponent's interval is narrow and clear of the grid's ends."""
        clear = (self.exponent_low > _EXPONENTS[0]) & (
            self.exponent_high < _EXPONENTS[-1]
        )
        return clear & (self.exponent_high <= _DETERMINED_WITHIN * self.exponent_low)

    @property
    def narrow(self) -> np.ndarray:
        """Whether the interval is narrower than the predicted step."""
        return self.high - self.low < self.step


@dataclasses.dataclass(frozen=True, eq=False)
class OwnVariance:
    """The variance of a mean of new runs around the law; arrays [...]."""

    value: np.ndarray  # nats^2
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
    k = len(design.orders)
    if k < 2 or design.blocks.max() > 0:
        raise errors.InferenceError(
            "order: a prediction needs the variance between orders; run the study in "
            "two or more orders that share cells"
        )
    noise = fitted.variance.of_widths(np.array([width]))[..., 0] / runs
    between, between_degrees = order_variance(fitted)
    between = between * (1 / orders + 1 / k)
    total = noise + between
    degrees = total**2 / (
        noise**2 / fitted.variance.degrees(width) + between**2 / between_degrees
    )
    return OwnVariance(total, degrees)


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
      InferenceError: fewer than four sizes (three constants fit three points exactly),
        or a cost that is not above 0.
    """
    design = fitted.design
    cells = design.check_sizes(architecture, 4, "a power law with a floor")
    if not (np.isfinite(flops) and flops > 0):
        raise errors.InferenceError(f"flops is {flops}; accepted: a number above 0")
    costs = design.flops_of(cells)
    unit = np.exp(np.mean(np.log(costs)))
    units = np.stack([contrasts.unit(design, i) for i in cells])
    covariance, degrees = contrasts.precision(fitted.variance, units)
    law = _Profile(
        np.log(costs / unit),
        float(np.log(flops / unit)),
        fitted.means[..., cells],
        np.linalg.inv(covariance),
    )
    misfit, value = law.of_means()  # [exponents, ...] each
    best = np.argmin(misfit, axis=0)
    exponent = _EXPONENTS[best]
    value = np.take_along_axis(value, best[np.newaxis], axis=0)[0]
    own_degrees = _degrees(law, exponent, degrees.min(axis=-1), own)
    reach = stats.t.ppf(0.5 + confidence / 2, own_degrees) ** 2
    allowed = misfit.min(axis=0) + reach
    fits = misfit <= allowed
    low, high = law.of_new(own.value, allowed)
    return Prediction(
        flops=float(flops),
        value=value,
        low=low,
        high=high,
        step=fitted.means[..., cells[-1]] - value,
        exponent=exponent,
        exponent_low=_EXPONENTS[np.argmax(fits, axis=0)],
        exponent_high=_EXPONENTS[len(_EXPONENTS) - 1 - np.argmax(fits[::-1], axis=0)],
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Profile:
    """The law given its exponent: linear, in up to two constants at or above 0."""

    x: np.ndarray  # ln(C / unit) of the sizes, [sizes].
    new_x: float
    means: np.ndarray  # nats, [..., sizes]
    weight: np.ndarray  # Inverse covariance of the means, [..., sizes, sizes].

    def of_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Misfit (chi^2) and prediction at each exponent: [exponents, ...] each."""
        misfits, values = [], []
        for exponent in _EXPONENTS:
            forms = [self._solve(exponent, form) for form in _FORMS]
            misfit = np.stack(
                [np.where(np.all(f[0] >= 0, axis=-1), f[1], np.inf) for f in forms]
            )
            value = np.stack([f[2] for f in forms])
            best = np.argmin(misfit, axis=0)[np.newaxis]
            misfits.append(np.take_along_axis(misfit, best, axis=0)[0])
            values.append(np.take_along_axis(value, best, axis=0)[0])
        return np.stack(misfits), np.stack(values)

    def of_new(
        self, own: np.ndarray, allowed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest new loss whose joint misfit is allowed: [...] each."""
        low = np.full(self.means.shape[:-1], np.inf)
        high = -low
        for exponent in _EXPONENTS:
            for form in _FORMS:
                constants, misfit, value, pull, spread = self._solve(exponent, form)
                room = allowed - misfit
                reach = np.sqrt(np.maximum(room, 0) * (spread + own))
                for sign in (-1, 1):
                    moved = (
                        constants
                        + (sign * reach / (spread + own))[..., np.newaxis] * pull
                    )
                    fits = (room >= 0) & np.all(moved >= 0, axis=-1)
                    new = value + sign * reach
                    low = np.where(fits, np.minimum(low, new), low)
                    high = np.where(fits, np.maximum(high, new), high)
        return low, high

    def _solve(self, exponent: float, form: tuple[int, ...]):
        """Least squares of one form.

        Returns:
          Constants [..., p], misfit [...], prediction [...], how the constants follow
          a new loss [..., p], and the prediction's variance [...].
        """
        columns = list(form)
        model = self._columns(exponent, self.x)[:, columns]
        new = self._columns(exponent, np.array([self.new_x]))[0, columns]
        inverse = np.linalg.inv(model.T @ self.weight @ model)
        pulled = np.einsum("sp,...st,...t->...p", model, self.weight, self.means)
        constants = np.einsum("...pq,...q->...p", inverse, pulled)
        residual = self.means - constants @ model.T
        misfit = np.einsum("...s,...st,...t->...", residual, self.weight, residual)
        pull = inverse @ new
        return constants, misfit, constants @ new, pull, pull @ new

    @staticmethod
    def _columns(exponent: float, x: np.ndarray) -> np.ndarray:
        """C^-exponent and 1: [len(x), 2]."""
        return np.stack([np.exp(-exponent * x), np.ones_like(x)], axis=1)

    def variance(self, exponent: np.ndarray) -> np.ndarray:
        """The prediction's variance with the exponent free, linearised: [...]."""
        decay = np.exp(-exponent[..., np.newaxis] * np.append(self.x, self.new_x))
        slope = -decay * np.append(self.x, self.new_x)
        columns = np.stack([decay, np.ones_like(decay), slope], axis=-1)
        model, new = columns[..., :-1, :], columns[..., -1, :]
        inverse = np.linalg.pinv(np.swapaxes(model, -1, -2) @ self.weight @ model)
        return np.einsum("...p,...pq,...q->...", new, inverse, new)


def _degrees(law, exponent, of_means, own: OwnVariance) -> np.ndarray:
    """Satterthwaite's degrees of freedom of law and own variance together: [...]."""
    variance = law.variance(exponent)
    return (variance + own.value) ** 2 / (
        variance**2 / of_means + own.value**2 / own.degrees
    )
