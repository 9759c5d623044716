"""Compares profile intervals with the closed form of a straight line."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tools.fit import profiles


def test_the_profile_of_a_slope_is_students_interval():
    rng = np.random.default_rng(0)
    x, noise = np.arange(8.0), rng.standard_normal(8)
    y = 2 * x + noise
    line = stats.linregress(x, y)

    def rss(slope):
        gap = y - slope * x
        return float(np.sum((gap - gap.mean()) ** 2))

    largest = profiles.limit(rss(line.slope), 8, 2)
    found = profiles.interval(
        rss, line.slope, np.linspace(-5, 5, 50), largest, float(np.sum(y**2))
    )
    reach = stats.t.ppf(0.975, 6) * line.stderr
    np.testing.assert_allclose(found, [line.slope - reach, line.slope + reach])
    wider = profiles.limit(rss(line.slope), 8, 2, confidence=0.99)
    assert wider > largest


def test_an_interval_ends_where_the_range_does():
    found = profiles.interval(lambda v: v**2, 0.5, np.linspace(-1, 1, 9), 4.0, 1.0)
    assert found == (-1.0, 1.0)


def test_exact_data_give_no_width():
    low, high = profiles.interval(
        lambda v: (v - 3) ** 2, 3.0, np.linspace(0, 9, 10), 0.0, 1.0
    )
    assert low == pytest.approx(3) and high == pytest.approx(3)
