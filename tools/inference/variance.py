"""The variance of a run as a function of width, by restricted maximum likelihood.

ln sigma^2 = level + slope (ln d - pivot), pooled over architectures: two parameters
where the design can estimate both, one otherwise. Cells' means and orders' effects are
fixed, so only the deviations from the cells' means carry information, and everything
reduces to a few sums at each width.

Leading axes "..." of losses are independent data sets of one design (simulations);
they are estimated together. Shapes as in `design`.
"""

import dataclasses

import numpy as np

from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors

# ln sigma^2 changes by at most this much per unit of ln d: sd by a factor of 4 per
# doubling of the width.
STEEPEST = 4.0

# The slope is in the model where the design leaves sigma^2 at both ends of the widths
# at least this many degrees of freedom. By simulation intervals then cover 94 to 97 %,
# also where sd falls as d^-0.5; without the slope they cover 84 % at the smallest of
# eight sizes where sd falls as d^-0.25, and 97 to 93 % over three or four sizes.
LEAST_DEGREES = 1.5

_GRID = 49
_GOLDEN_STEPS = 36
_GOLDEN = (5**0.5 - 1) / 2


@dataclasses.dataclass(frozen=True, eq=False)
class Variance:
    """The estimated variance of one run, nats^2.

    Attributes:
        design: the design.
        level: ln sigma^2 at the pivot, [...].
        slope: change of ln sigma^2 per unit of ln d, [...]; 0 if not fitted.
        has_slope: whether the design can estimate the slope.
        at_bound: whether the slope ran into +-STEEPEST, [...].
    """

    design: design_lib.Design
    level: np.ndarray
    slope: np.ndarray
    has_slope: bool
    at_bound: np.ndarray

    def of_widths(self, widths: np.ndarray) -> np.ndarray:
        """sigma^2 at the given widths: [..., len(widths)].

        exp() of an uncertain logarithm is too large on average, most at the ends of the
        widths; the second-order bias is taken off.
        """
        z = np.log(np.asarray(widths, np.float64)) - pivot(self.design)
        log = self.level[..., np.newaxis] + self.slope[..., np.newaxis] * z
        return np.exp(log - self._log_bias(z))

    def of_cells(self) -> np.ndarray:
        """sigma^2 of a run of each cell: [..., C]."""
        return self.of_widths(self.design.widths)[..., self.design.width_of_cell]

    def parameter_covariance(self) -> np.ndarray:
        """Covariance of (level, slope) from the expected information: [..., 2, 2]."""
        if self.has_slope:
            return np.linalg.inv(information(self.design, self.slope))
        covariance = np.zeros((*self.level.shape, 2, 2))
        covariance[..., 0, 0] = 2 / self.design.residual_degrees
        return covariance

    def _log_bias(self, z: np.ndarray) -> np.ndarray:
        """The second-order bias of the logarithm of sigma^2: [..., len(z)].

        Half the variance of ln sigma^2, less its regression on (1, z): what the
        estimates of level and slope are too low by (Cordeiro and McCullagh 1991, for a
        gamma regression with logarithmic link, here of the widths' sums of squares).
        It vanishes in a model without slope, whose sigma^2 is unbiased.
        """
        if not self.has_slope:
            return np.zeros((*self.level.shape, len(z)))
        covariance = self.parameter_covariance()

        def half_variance(at: np.ndarray) -> np.ndarray:
            powers = np.stack([np.ones_like(at), at])
            return 0.5 * np.einsum("pz,...pq,qz->...z", powers, covariance, powers)

        of_widths = np.log(self.design.widths) - pivot(self.design)
        model = np.stack([np.ones_like(of_widths), of_widths], axis=1)
        weighted = model.T * self.design.degrees_within
        regression = np.linalg.solve(weighted @ model, weighted)  # [2, W]
        at_z = np.stack([np.ones_like(z), z], axis=1) @ regression  # [len(z), W]
        return half_variance(z) - half_variance(of_widths) @ at_z.T

    def degrees(self, width: float) -> np.ndarray:
        """Satterthwaite's degrees of freedom of sigma^2 at a width: [...]."""
        gradient = np.array([1.0, np.log(width) - pivot(self.design)])
        return 2 / (gradient @ self.parameter_covariance() @ gradient)


def pivot(design: design_lib.Design) -> float:
    """The ln d at which `level` is read: the mean over the deviations."""
    return float(np.average(np.log(design.widths), weights=design.degrees_within))


def information(design: design_lib.Design, slope: np.ndarray) -> np.ndarray:
    """Expected REML information on (level, slope).

    Half the trace of P V_i P V_j, where V_i is the derivative of the runs' covariance
    and P projects off cells and orders; it does not depend on the level.

    Args:
        design: which runs there are.
        slope: at which to evaluate, [...].

    Returns:
        [..., 2, 2].
    """
    z = np.log(design.widths) - pivot(design)
    powers = np.stack([np.ones_like(z), z])  # [2, W]
    by_width, inverse = _order_terms(design, slope)
    # shares[i] = A^-1 sum_w z_w^i A_w: the orders' part of the projection.
    shares = [
        inverse @ np.einsum("w,...wrs->...rs", powers[0] * z**i, by_width)
        for i in range(3)
    ]
    table = np.empty((*np.shape(slope), 2, 2))
    for i in range(2):
        for j in range(2):
            table[..., i, j] = 0.5 * (
                np.sum(design.degrees_within * powers[i] * powers[j])
                - 2 * np.trace(shares[i + j], axis1=-2, axis2=-1)
                + np.trace(shares[i] @ shares[j], axis1=-2, axis2=-1)
            )
    return table


def degrees_at_ends(design: design_lib.Design) -> tuple[float, float]:
    """Degrees of freedom of sigma^2 at the smallest and largest width, with a slope.

    For runs of equal variance, before any loss is known; 0 where the design cannot
    tell a slope at all, as with replicates at one width only.
    """
    table = information(design, np.array(0.0))
    if np.linalg.det(table) <= 1e-9 * table[0, 0] ** 2:
        return 0.0, 0.0
    covariance = np.linalg.inv(table)
    z = np.log(design.widths[[0, -1]]) - pivot(design)
    low, high = (2 / (np.array([1, x]) @ covariance @ np.array([1, x])) for x in z)
    return float(low), float(high)


def check_replicates(design: design_lib.Design) -> None:
    """Raises InferenceError if nothing tells the noise from the effects."""
    if design.residual_degrees < 1:
        raise errors.InferenceError(
            "order, initialisation: no replicates, so the spread between runs of one "
            "model is unknown and with it every interval, test and outcome; means and "
            "their differences are all that can be known. Run some cells in a second "
            "order or with a second initialisation"
        )


def estimate(design: design_lib.Design, losses: np.ndarray) -> Variance:
    """Estimates the variance of a run.

    Whether the slope is in the model depends on the design alone, never on losses.

    Args:
        design: which runs there are.
        losses: nats, [..., n].

    Raises:
        InferenceError: there are no replicates, or their losses do not vary.
    """
    check_replicates(design)
    losses = np.asarray(losses, np.float64)
    squares, products = sums(design, losses)
    has_slope = min(degrees_at_ends(design)) >= LEAST_DEGREES
    slope = np.zeros(losses.shape[:-1])
    if has_slope:
        slope = _best_slope(design, squares, products)
    residual, _ = _residual(design, slope, squares, products)
    if np.any(residual <= 1e-24 * np.sum(losses**2, axis=-1)):
        raise errors.InferenceError(
            "loss: replicates do not differ at all, so they are copies of one run or "
            "were rounded; runs of one model must differ in order or initialisation"
        )
    return Variance(
        design=design,
        level=np.log(residual / design.residual_degrees),
        slope=slope,
        has_slope=has_slope,
        at_bound=np.abs(slope) > STEEPEST - 1e-6,
    )


def pooled(design: design_lib.Design, losses: np.ndarray) -> np.ndarray:
    """One variance for runs of all widths, nats^2, with `residual_degrees`: [...].

    Args:
        design: which runs there are.
        losses: nats, [..., n].

    Raises:
        InferenceError: there are no replicates.
    """
    check_replicates(design)
    losses = np.asarray(losses, np.float64)
    slope = np.zeros(losses.shape[:-1])
    residual, _ = _residual(design, slope, *sums(design, losses))
    return residual / design.residual_degrees


def sums(
    design: design_lib.Design, losses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the runs of each width of deviations from the cells' means.

    Args:
        design: which runs there are.
        losses: nats, [..., n].

    Returns:
        Squares [..., W], and products with the orders' basis [..., W, R].
    """
    deviation = (
        losses
        - (losses @ design.cell_membership / design.counts)[..., design.cell_of_run]
    )
    at_width = np.eye(len(design.widths))[design.width_of_cell[design.cell_of_run]]
    basis = design.order_basis[design.order_of_run]
    return deviation**2 @ at_width, np.stack(
        [(deviation * column) @ basis for column in at_width.T], axis=-2
    )


def order_effects(
    design: design_lib.Design, variance: Variance, losses: np.ndarray
) -> np.ndarray:
    """Generalised least squares of the orders' effects, in the design's basis.

    Returns:
        [..., R], nats; `design.order_basis` maps it to the orders.
    """
    _, products = sums(design, losses)
    _, inverse = _order_terms(design, variance.slope)
    return np.einsum(
        "...rs,...ws,...w->...r", inverse, products, 1 / _scale(design, variance.slope)
    )


def relative_order_covariance(
    design: design_lib.Design, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the orders' effects where sigma^2 at the pivot is 1.

    Args:
        design: which runs there are.
        slope: of ln sigma^2, [...].

    Returns:
        The covariance and its derivative by the slope, [..., R, R] each.
    """
    by_width, inverse = _order_terms(design, slope)
    z = np.log(design.widths) - pivot(design)
    return inverse, inverse @ np.einsum("w,...wrs->...rs", z, by_width) @ inverse


def _scale(design: design_lib.Design, slope: np.ndarray) -> np.ndarray:
    """sigma^2 at each width relative to that at the pivot: [..., W]."""
    z = np.log(design.widths) - pivot(design)
    return np.exp(np.asarray(slope)[..., np.newaxis] * z)


def _order_terms(
    design: design_lib.Design, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted information on orders by width, and the inverse of its sum."""
    weights = 1 / _scale(design, slope)
    by_width = weights[..., np.newaxis, np.newaxis] * design.order_information
    return by_width, np.linalg.inv(by_width.sum(axis=-3))


def _residual(design, slope, squares, products) -> tuple[np.ndarray, np.ndarray]:
    """What the likelihood needs at a slope, sigma^2 at the pivot being 1.

    Returns:
        The weighted residual sum of squares and the log determinant of the information
        on the orders, [...] each.
    """
    weights = 1 / _scale(design, slope)
    by_width, inverse = _order_terms(design, slope)
    b = np.einsum("...w,...wr->...r", weights, products)
    explained = np.einsum("...r,...rs,...s->...", b, inverse, b)
    residual = np.sum(weights * squares, axis=-1) - explained
    return residual, np.linalg.slogdet(by_width.sum(axis=-3))[1]


def _deviance(design, slope, squares, products) -> np.ndarray:
    """-2 log restricted likelihood, the level profiled out, up to a constant: [...]."""
    z = np.log(design.widths) - pivot(design)
    residual, logdet = _residual(design, slope, squares, products)
    return (
        slope * np.sum(design.degrees_within * z)
        + logdet
        + design.residual_degrees * np.log(np.maximum(residual, 1e-300))
    )


def _best_slope(design, squares, products) -> np.ndarray:
    """The slope of least deviance: a grid, then golden sections in its best cell."""

    def deviance(slope: np.ndarray) -> np.ndarray:
        return _deviance(design, slope, squares, products)

    grid = np.linspace(-STEEPEST, STEEPEST, _GRID)
    best = np.argmin([deviance(np.array(g)) for g in grid], axis=0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, _GRID - 1)]
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = deviance(left), deviance(right)
    for _ in range(_GOLDEN_STEPS):
        # The minimum lies left of `right` or right of `left`; one point is kept.
        to_left = at_left < at_right
        low, high = np.where(to_left, low, left), np.where(to_left, right, high)
        new = np.where(
            to_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        )
        at_new = deviance(new)
        left, right, at_left, at_right = (
            np.where(to_left, new, right),
            np.where(to_left, left, new),
            np.where(to_left, at_new, at_right),
            np.where(to_left, at_left, at_new),
        )
    return (low + high) / 2
