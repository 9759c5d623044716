"""The fit against dense weighted least squares."""

import numpy as np

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power


def _losses(design, draws=1, seed=0):
    return power.draw_losses(
        design,
        studies.true_means(design, studies.bent()),
        studies.falling_sd(design, 0.4),
        order_sd=0.01,
        draws=draws,
        seed=seed,
    )


def _dense_fit(design, losses, variance_of_cells):
    """Fitted values of weighted least squares with dummies."""
    root = 1 / np.sqrt(variance_of_cells[design.cell_of_run])
    x = studies.dense(design)
    solution = np.linalg.lstsq(x * root[:, np.newaxis], losses * root, rcond=None)[0]
    return x @ solution


def test_fitted_values_are_those_of_dense_least_squares():
    design = studies.unbalanced()
    losses = _losses(design)[0]
    fitted = linear_model.fit(design, losses)
    # The weights are the likelihood's own, without the correction of sigma^2's bias.
    z = np.log(design.widths) - np.log(design.widths[0])
    weights = np.exp(fitted.variance.slope * z)[design.width_of_cell]
    ours = fitted.means[design.cell_of_run] + fitted.order_effects[design.order_of_run]
    np.testing.assert_allclose(ours, _dense_fit(design, losses, weights), atol=1e-9)
    np.testing.assert_allclose(fitted.order_effects.sum(), 0, atol=1e-12)
    # Mutation: other weights, other values.
    other = _dense_fit(design, losses, weights**3)
    assert np.abs(ours - other).max() > 1e-5


def test_a_change_of_one_order_leaves_every_contrast_alone():
    design = studies.first_study()
    losses = _losses(design)[0]
    moved = losses + 0.3 * (design.order_of_run == 1)
    rows = np.stack([contrasts.own_gain(design, name) for name in design.architectures])
    before, after = (
        contrasts.estimate(linear_model.fit(design, y), rows) for y in (losses, moved)
    )
    np.testing.assert_allclose(after.value, before.value, atol=1e-9)
    np.testing.assert_allclose(after.covariance, before.covariance, rtol=1e-6)
    cell = losses + 0.3 * (design.cell_of_run == 0)
    assert (
        abs(
            contrasts.estimate(linear_model.fit(design, cell), rows).value[0]
            - before.value[0]
        )
        > 0.2
    )


def test_data_sets_fitted_together_are_those_fitted_apart():
    design = studies.unbalanced()
    losses = _losses(design, draws=4)
    together = linear_model.fit(design, losses)
    for i, row in enumerate(losses):
        apart = linear_model.fit(design, row)
        np.testing.assert_allclose(together.means[i], apart.means, atol=1e-9)
        np.testing.assert_allclose(
            together.order_effects[i], apart.order_effects, atol=1e-9
        )
