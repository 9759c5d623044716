"""Changes of contrasts against plain formulas, finite differences and simulation."""

import dataclasses

import numpy as np
import pytest

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import changes
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power

_CONTROLS = ("transformer", "switch", "performer", "glu")


def _other(orders=("1", "2")):
    """The first study's controls, once in each order."""
    return design_lib.planned(
        {n: dict(zip(studies.WIDTHS, studies.FLOPS[n])) for n in _CONTROLS},
        {n: dict.fromkeys(studies.WIDTHS, orders) for n in _CONTROLS},
        dict.fromkeys(_CONTROLS, 1),
    )


def _levels(design):
    return np.array(
        [equal_compute.compare(design, n, "transformer").level for n in _CONTROLS[1:]]
    )


def _draw(design, draws, seed, sd=0.02):
    return power.draw_losses(
        design,
        studies.true_means(design, studies.bent()),
        {int(width): sd for width in design.widths},
        order_sd=0.01,
        draws=draws,
        seed=seed,
    )


def test_values_and_errors_by_hand():
    # One variance, known: two widths, three orders; two cells again in two orders.
    design, other = studies.ladder(2, 3), studies.ladder(2, 2)
    losses, others = _draw(design, 1, 0)[0], _draw(other, 1, 1)[0]
    fitted = linear_model.fit(design, losses)
    flat = dataclasses.replace(
        fitted.variance,
        level=np.log(np.array(0.0004)),
        slope=np.array(0.0),
        has_slope=False,
    )
    fitted = dataclasses.replace(fitted, variance=flat)
    row = np.array([[1.0, -1.0]])
    found = changes.changes(fitted, row, other, others, row)
    small, large = others.reshape(2, 2).mean(axis=1)
    before = losses.reshape(2, 3).mean(axis=1)
    np.testing.assert_allclose(
        found.estimates.value, [small - large - (before[0] - before[1])], rtol=1e-9
    )
    # sigma^2 (1/3 + 1/3 + 1/2 + 1/2), with the study's 6 - 2 - 2 degrees.
    np.testing.assert_allclose(
        found.estimates.covariance, [[0.0004 * 5 / 3]], rtol=1e-9
    )
    np.testing.assert_array_equal(found.estimates.degrees, [2])
    # With two cells in two orders one residual is left: half the interaction.
    table = others.reshape(2, 2)
    interaction = table[0, 0] - table[0, 1] - table[1, 0] + table[1, 1]
    np.testing.assert_allclose(found.spread, abs(interaction) / 2 / 0.02, rtol=1e-9)


def test_degrees_follow_from_finite_differences():
    design, other = studies.first_study(), _other()
    fitted = linear_model.fit(design, _draw(design, 1, 0)[0])
    variance = fitted.variance
    assert variance.has_slope
    rows, other_rows = _levels(design), _levels(other)
    losses = _draw(other, 1, 1)[0]

    def own(level, slope):
        moved = dataclasses.replace(
            variance, level=np.array(level), slope=np.array(slope)
        )
        again = dataclasses.replace(fitted, variance=moved)
        found = changes.changes(again, rows, other, losses, other_rows)
        return np.diagonal(found.estimates.covariance)

    at, step = (float(variance.level), float(variance.slope)), 1e-5
    gradient = np.stack(
        [
            (own(at[0] + step, at[1]) - own(at[0] - step, at[1])) / (2 * step),
            (own(at[0], at[1] + step) - own(at[0], at[1] - step)) / (2 * step),
        ],
        axis=-1,
    )
    spread = np.einsum(
        "mi,ij,mj->m", gradient, variance.parameter_covariance(), gradient
    )
    found = changes.changes(fitted, rows, other, losses, other_rows)
    # The correction of sigma^2 for bias depends a little on the slope, which the finite
    # differences leave out: within 2 %.
    np.testing.assert_allclose(
        found.estimates.degrees, 2 * own(*at) ** 2 / spread, rtol=0.02
    )


def test_what_cannot_be_estimated_is_said():
    design = studies.first_study()
    fitted = linear_model.fit(design, _draw(design, 1, 0)[0])
    other = _other()
    losses = _draw(other, 1, 1)[0]
    means = np.array([contrasts.unit(other, 0)])
    with pytest.raises(errors.InferenceError, match="contrast: must sum to 0"):
        changes.changes(fitted, _levels(design)[:1], other, losses, means)
    uneven = design_lib.planned(
        {"a": {16: 1e11, 32: 2e11}}, {"a": {16: "12", 32: "1"}}, {"a": 1}
    )
    with pytest.raises(errors.InferenceError, match="order: cells under the other"):
        row = contrasts.gain(uneven, 0, 1)[np.newaxis]
        changes.changes(fitted, _levels(design)[:1], uneven, np.ones(3), row)
    single = _other(("1",))
    alone = changes.changes(
        fitted, _levels(design), single, _draw(single, 1, 1)[0], _levels(single)
    )
    assert np.isnan(alone.spread)


@pytest.mark.slow
def test_intervals_of_changes_cover():
    """Each holds no change, which is the truth, in 93 to 97 % of 2,000 draws."""
    design, other = studies.first_study(), _other()
    fitted = linear_model.fit(design, _draw(design, 2000, 2))
    found = changes.changes(
        fitted, _levels(design), other, _draw(other, 2000, 3), _levels(other)
    )
    low, high = found.estimates.interval()
    covered = np.mean((low <= 0) & (high >= 0), axis=0)
    assert np.all((covered > 0.93) & (covered < 0.97)), covered
    # Four standard errors of the mean of 2,000 draws, 0.45 % each.
    np.testing.assert_allclose(found.spread.mean(), 1, rtol=0.02)
    # Mutation: runs that vary twice as much are not covered, and the spread says so.
    wild = changes.changes(
        fitted,
        _levels(design),
        other,
        _draw(other, 2000, 3, sd=0.04),
        _levels(other),
    )
    low, high = wild.estimates.interval()
    assert np.all(np.mean((low <= 0) & (high >= 0), axis=0) < 0.85)
    np.testing.assert_allclose(wild.spread.mean(), 2, rtol=0.02)  # Likewise.
