"""Checks equation 1 on Table 4 against the published goodness of fit."""

import numpy as np
import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.laws import equation_one
from clinometer.tools.results import published


def _r_squared(table, size="params_total"):
    laws = equation_one.fit_all(table, "score_superglue", size)
    return [law.fit.r_squared for law in laws]


@pytest.mark.parametrize("size", ["params_total", "printed_params"])
def test_table_4(size):
    found = _r_squared(published.of_table(4), size)
    np.testing.assert_allclose(found, [0.990, 0.961], atol=5e-4)


def test_a_changed_cell_changes_the_law():
    table = published.of_table(4)
    table.loc[table["run"] == "Table 4: Large", "score_superglue"] = 72.0
    up, down = _r_squared(table)
    assert up == pytest.approx(0.990, abs=5e-4) and down < 0.95


def test_exact_ladders_determine_the_law():
    rows = ladders.ladder(score_superglue=lambda n: 100 - 3000 * n**-0.25)
    up, down = equation_one.fit_all(ladders.frame(rows))
    np.testing.assert_allclose(
        [up.fit.exponent, up.fit.floor, down.fit.exponent], [-0.34, 1.7, -0.25], 1e-4
    )
    assert up.fit.determined and down.fit.determined
    assert down.fit.floor == pytest.approx(0, abs=1e-3)


def test_too_few_points():
    (law,) = equation_one.fit_all(
        ladders.frame(ladders.ladder(sizes=ladders.SIZES[:3]))
    )
    assert law.fit is None and "4 or more" in law.reason
