"""Linear contrasts of the cells' means: values, standard errors, degrees of freedom.

A contrast is a row of coefficients, one a cell. Where they sum to zero, the average of
the orders drops out. Shapes as in `design`, leading axes as in `variance`; m counts
contrasts.
"""

import dataclasses

import numpy as np
from scipy import stats

from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance as variance_lib

# Costs that differ by less are equal by design: whole widths cannot match them better.
_SAME_COST = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
    """Linear contrasts of the cells' means, m of them.

    Attributes:
        value: the estimates, [..., m], in units of the contrast.
        covariance: their covariance, [..., m, m].
        degrees: Satterthwaite's degrees of freedom, [..., m].
    """

    value: np.ndarray
    covariance: np.ndarray
    degrees: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        """[..., m], units of the contrast."""
        return np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))

    @property
    def correlation(self) -> np.ndarray:
        """[..., m, m]."""
        error = self.standard_error
        return self.covariance / (error[..., :, np.newaxis] * error[..., np.newaxis, :])

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Student's t interval of each contrast on its own: low and high, [..., m]."""
        reach = stats.t.ppf(0.5 + confidence / 2, self.degrees) * self.standard_error
        return self.value - reach, self.value + reach

    def p_above(self) -> np.ndarray:
        """One-sided p-value against "not above 0": [..., m]."""
        return stats.t.sf(self.value / self.standard_error, self.degrees)

    def p_two_sided(self) -> np.ndarray:
        """Two-sided p-value against "equal to 0": [..., m]."""
        return 2 * stats.t.sf(np.abs(self.value) / self.standard_error, self.degrees)


def estimate(fitted: linear_model.Fit, coefficients: np.ndarray) -> Estimates:
    """Values, covariance and degrees of freedom of linear contrasts.

    Args:
        fitted: the model.
        coefficients: of the cells' means, [m, C].

    Raises:
        InferenceError: a contrast cannot be told from a difference between orders.
    """
    coefficients = np.asarray(coefficients, np.float64)
    fitted.design.check_estimable(coefficients)
    covariance, degrees = precision(fitted.variance, coefficients)
    return Estimates(
        value=fitted.means @ coefficients.T, covariance=covariance, degrees=degrees
    )


def precision(
    variance: variance_lib.Variance, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance and Satterthwaite's degrees of freedom of linear contrasts.

    Both follow from the design and the variance's parameters alone.

    Args:
        variance: of a run.
        coefficients: of the cells' means, [m, C].

    Returns:
        Covariance [..., m, m] and degrees of freedom [..., m].
    """
    covariance, change = with_change(variance, coefficients)
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    return covariance, satterthwaite(variance, own, change)


def with_change(
    variance: variance_lib.Variance, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of linear contrasts, and how it changes with the variance's slope.

    Args:
        variance: of a run.
        coefficients: of the cells' means, [m, C].

    Returns:
        Covariance [..., m, m], and the derivative of its diagonal by the slope of
        ln sigma^2, [..., m].
    """
    design = variance.design
    of_mean = variance.of_cells() / design.counts  # [..., C]
    covariance = np.einsum("mc,...c,kc->...mk", coefficients, of_mean, coefficients)
    offsets = coefficients @ design.order_offsets  # [m, R]
    effects, effects_change = variance_lib.relative_order_covariance(
        design, variance.slope
    )
    scale = np.exp(variance.level)[..., np.newaxis]
    covariance = covariance + scale[..., np.newaxis] * (offsets @ effects @ offsets.T)
    z = np.log(design.widths)[design.width_of_cell] - variance_lib.pivot(design)
    change = np.einsum("mc,...c->...m", coefficients**2, of_mean * z) + (
        scale * np.einsum("mr,...rs,ms->...m", offsets, effects_change, offsets)
    )
    return covariance, change


def satterthwaite(
    variance: variance_lib.Variance, own: np.ndarray, change: np.ndarray
) -> np.ndarray:
    """Degrees of freedom of estimates, by the delta method.

    Args:
        variance: of a run, by which the estimates' own variances were computed.
        own: their variances, [..., m].
        change: derivative of `own` by the slope of ln sigma^2, [..., m].

    Returns:
        [..., m].
    """
    if not variance.has_slope:
        return np.full(own.shape, float(variance.design.residual_degrees))
    gradient = np.stack([own, change], axis=-1)
    spread = np.einsum(
        "...mi,...ij,...mj->...m", gradient, variance.parameter_covariance(), gradient
    )
    return 2 * own**2 / spread


def unit(design: design_lib.Design, cell: int) -> np.ndarray:
    """The row that reads one cell's mean: [C]."""
    row = np.zeros(len(design.cells))
    row[cell] = 1
    return row


def gain(design: design_lib.Design, smaller: int, larger: int) -> np.ndarray:
    """The row of loss(smaller) - loss(larger), nats: [C]."""
    return unit(design, smaller) - unit(design, larger)


def own_gain(design: design_lib.Design, architecture: str) -> np.ndarray:
    """The row of an architecture's gain over its own range, nats: [C].

    The secant from the cheapest size to the dearest. Its range is the architecture's
    own, so two of them never compare; see `equal_compute`.

    Raises:
        InferenceError: fewer than two sizes, or no such architecture.
    """
    cells = design.check_sizes(architecture, 2, "a gain with size")
    return gain(design, cells[0], cells[-1])


def own_gain_per_decade(design: design_lib.Design, architecture: str) -> np.ndarray:
    """`own_gain` per tenfold training FLOPs, nats: [C].

    Raises:
        InferenceError: as `own_gain`, or its sizes cost the same.
    """
    row = own_gain(design, architecture)
    cells = design.cells_of(architecture)
    return row / decades(*design.flops_of(cells[[0, -1]]))


def decades(low: float, high: float) -> float:
    """log10(high / low), of costs that differ by more than `_SAME_COST`.

    Raises:
        InferenceError: the costs are equal, or fall.
    """
    if not high > (1 + _SAME_COST) * low:
        raise errors.InferenceError(
            f"flops: {low:g} to {high:g} is no range; a gain per tenfold FLOPs needs "
            "sizes that differ in cost"
        )
    return float(np.log10(high / low))
