"""Steps between sizes against paired tests, Holm by hand and simulation."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import power
from clinometer.tools.inference import steps as steps_lib


def test_steps_by_hand():
    """One variance: a balanced two-way analysis, its t tests, and Holm over two."""
    design = studies.ladder(3, 3)
    losses = power.draw_losses(
        design, np.array([4.3, 4.25, 4.24]), 0.015, draws=1, seed=1
    )[0]
    table = losses.reshape(3, 3)
    residual = (
        table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    )
    error = np.sqrt(np.sum(residual**2) / 4 * 2 / 3)
    gains = -np.diff(table.mean(axis=1))
    p = stats.t.sf(gains / error, 4)
    small, large = np.sort(p)
    adjusted = {small: min(2 * small, 1), large: max(2 * small, large)}
    found = steps_lib.steps(linear_model.fit(design, losses), "a")
    assert [(s.smaller.width, s.larger.width) for s in found] == [(16, 32), (32, 64)]
    np.testing.assert_allclose([s.gain for s in found], gains)
    np.testing.assert_allclose([s.standard_error for s in found], error)
    np.testing.assert_allclose([s.p_value for s in found], [adjusted[v] for v in p])
    assert found[0].is_clear(1.0) and not found[0].is_clear(0.0)


def test_a_loss_that_rises_is_no_step():
    design = studies.ladder(3, 3)
    losses = power.draw_losses(design, np.array([4.0, 4.2, 4.4]), 0.01, draws=1)[0]
    assert not any(
        s.is_clear() for s in steps_lib.steps(linear_model.fit(design, losses), "a")
    )


def test_one_size_has_no_step():
    with pytest.raises(errors.InferenceError, match="a step between sizes needs 2"):
        steps_lib.rows(studies.one_order(1, (4,)), "a")


@pytest.mark.slow
@pytest.mark.parametrize("power_of_width", [0.0, 0.5])
@pytest.mark.parametrize("sizes, orders", [(3, 3), (4, 3), (8, 2)])
def test_ladders_without_any_gain_have_no_steps(sizes, orders, power_of_width):
    design = studies.ladder(sizes, orders, costs=(1.0, 1.0))
    losses = power.draw_losses(
        design,
        np.full(len(design.cells), 4.2),
        studies.falling_sd(design, power_of_width),
        order_sd=0.01,
        draws=2000,
        seed=7,
    )
    p = steps_lib.p_values(linear_model.fit(design, losses), "a")
    rate = np.mean(np.any(p <= 0.05, axis=-1))
    print(sizes, power_of_width, rate)
    assert 0.02 < rate <= 0.065
    # What it replaces: a drop above twice the range of the smallest size's runs.
    table = losses[:, : sizes * orders].reshape(-1, sizes, orders)
    drops = -np.diff(table.mean(axis=2), axis=1)
    former = np.any(drops > 2 * np.ptp(table[:, 0], axis=1)[:, np.newaxis], axis=1)
    print("twice the range", former.mean())
