"""How a comparison changes under another condition, such as a fixed learning rate.

Some cells of a study are run again under the other condition, in a few orders. The
change is a contrast of their means less the same contrast of the study's means. The
other runs are too few to say how much a run varies, so the variance is the study's.
Shapes as in `design`, leading axes as in `variance`; m counts contrasts.
"""

import dataclasses

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance as variance_lib

_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """Changes of m contrasts.

    Attributes:
        estimates: under the other condition less in the study.
        spread: sd of the other runs over what the study's would be, [...]; NaN without
            replicates.
    """

    estimates: contrasts.Estimates
    spread: np.ndarray


def changes(
    fitted: linear_model.Fit,
    rows: np.ndarray,
    other: design_lib.Design,
    losses: np.ndarray,
    other_rows: np.ndarray,
) -> Changes:
    """Estimates how contrasts change.

    Args:
        fitted: the study's model.
        rows: the contrasts of the study's means, [m, C].
        other: the runs under the other condition, each cell in the same orders.
        losses: theirs, nats, [..., n].
        other_rows: the same contrasts of their means, [m, cells of `other`]; each sums
            to 0, so that the orders' effects drop out.

    Raises:
        InferenceError: the cells under the other condition are not in the same orders,
            a contrast does not sum to 0, or orders stand between cells of the study.
    """
    shares = other.incidence / other.counts[:, np.newaxis]
    if np.any(np.abs(shares - shares[0]) > _ROUNDING):
        raise errors.InferenceError(
            "order: cells under the other condition are in different orders; run all "
            "of them in the same ones"
        )
    if np.any(np.abs(other_rows.sum(axis=-1)) > _ROUNDING):
        raise errors.InferenceError(
            "contrast: must sum to 0 under the other condition, whose orders have "
            "effects of their own"
        )
    before = contrasts.estimate(fitted, rows)
    variance = fitted.variance
    of_cells = variance.of_widths(other.widths)[..., other.width_of_cell]
    of_mean = of_cells / other.counts
    z = np.log(other.widths)[other.width_of_cell] - variance_lib.pivot(fitted.design)
    means = losses @ other.cell_membership / other.counts
    covariance, change = contrasts.with_change(variance, rows)
    covariance = covariance + np.einsum(
        "mc,...c,kc->...mk", other_rows, of_mean, other_rows
    )
    change = change + np.einsum("mc,...c->...m", other_rows**2, of_mean * z)
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    return Changes(
        contrasts.Estimates(
            value=means @ other_rows.T - before.value,
            covariance=covariance,
            degrees=contrasts.satterthwaite(variance, own, change),
        ),
        spread=_spread(other, losses, np.sqrt(of_cells)),
    )


def _spread(
    design: design_lib.Design, losses: np.ndarray, sd_of_cells: np.ndarray
) -> np.ndarray:
    """Root mean square of the residuals in units of the given sd: [...]."""
    if not design.residual_degrees:
        return np.full(losses.shape[:-1], np.nan)
    sd = sd_of_cells[..., design.cell_of_run]
    effects = design.order_basis[design.order_of_run]
    model = np.hstack([design.cell_membership, effects]) / sd[..., np.newaxis]
    scaled = (losses / sd)[..., np.newaxis]
    residuals = scaled - model @ (np.linalg.pinv(model) @ scaled)
    squares = np.sum(residuals**2, axis=(-2, -1))
    return np.sqrt(squares / design.residual_degrees)
