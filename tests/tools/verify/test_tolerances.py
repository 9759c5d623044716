"""Compares the tolerances with numbers worked by hand."""

import pytest

from clinometer.tools.verify import tolerances


@pytest.mark.parametrize(
    ("name", "published", "expected"),
    [
        ("validation_loss_nats", 1.752, 0.015),
        # 2 sqrt(2) standard deviations between runs.
        ("glue", 82.53, 0.6647),
        ("superglue", 69.80, 1.1766),
        ("squad", 85.14, 0.9701),
        # Of the mean of these three.
        ("avg", 79.16, 0.5545),
        # 2 sqrt(2) sqrt(0.657 * 0.343 / 1532).
        ("anli", 65.7, 3.430),
        ("imdb", 94.4, 1.0),
    ],
)
def test_values(name, published, expected):
    found = tolerances.of(name, published)
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert found.reason


def test_the_table_has_all_kinds():
    lines = tolerances.table()
    assert [line.partition(":")[0] for line in lines] == [
        *("loss", "glue", "superglue", "squad", "avg"),
        *("Rainbow, such as anli", "other tasks"),
    ]
    assert "3.430 percent" in lines[5]
