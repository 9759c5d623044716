"""The fitted model: each cell's mean, each order's effect and the variance of a run.

Everything is conditional on the orders that were run. Shapes as in `design`, leading
axes as in `variance`.
"""

import dataclasses

import numpy as np

from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import variance as variance_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Generalised least squares of loss = mean(cell) + effect(order).

    Attributes:
        design: the design.
        variance: the variance of a run.
        means: means of the cells at the average of their orders, nats, [..., C].
        order_effects: nats, [..., K]; sum to 0 over connected orders.
    """

    design: design_lib.Design
    variance: variance_lib.Variance
    means: np.ndarray
    order_effects: np.ndarray


def fit(design: design_lib.Design, losses: np.ndarray) -> Fit:
    """Fits the model to the losses of a design.

    Args:
        design: which runs there are.
        losses: nats, [..., n]; leading axes are data sets of their own.

    Raises:
        InferenceError: there are no replicates, or their losses do not vary.
    """
    losses = np.asarray(losses, np.float64)
    variance = variance_lib.estimate(design, losses)
    effects = variance_lib.order_effects(design, variance, losses)
    plain = losses @ design.cell_membership / design.counts
    return Fit(
        design=design,
        variance=variance,
        means=plain - effects @ design.order_offsets.T,
        order_effects=effects @ design.order_basis.T,
    )
