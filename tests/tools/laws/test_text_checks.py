"""Checks the statements of the paper's text against ratios worked beforehand."""

import pytest

from clinometer.tools.laws import text_checks
from clinometer.tools.results import published


@pytest.mark.parametrize(
    "words, computed, printed, holds",
    [
        ("Small-16L has 50 %", 0.601, 0.601, False),
        ("Small-16L has 63.1 %", 0.630, 0.655, True),
        ("Small-24L has 87 %", 0.873, 0.909, True),
        ("Small-24L has 16 %", 0.864, 0.865, False),
        ("Large-36L has 37 %", 0.382, 0.379, True),
        ("XL-32L takes 44 %", 0.338, 0.460, False),
    ],
)
def test_ratios(words, computed, printed, holds):
    (check,) = (c for c in text_checks.of_table() if c.statement.startswith(words))
    assert check.computed == pytest.approx(computed, abs=5e-4)
    assert check.printed == pytest.approx(printed, abs=6e-4)
    assert check.holds is holds


def test_a_changed_cell_changes_the_check():
    table = published.of_table(4)
    table.loc[table["run"] == "Table 4: Small 16L", "params_total"] = 111.45e6
    assert text_checks.of_table(table)[0].holds


def test_speeds_follow_from_multiply_adds():
    found = text_checks.of_speeds()
    assert found.models == 12
    assert found.rank_correlation == pytest.approx(0.975, abs=1e-3)
    assert found.spread == pytest.approx(1.47, abs=5e-3)  # As printed.
