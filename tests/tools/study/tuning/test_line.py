"""Compares rates between the swept sizes with numpy.interp in logarithms."""

import math

import numpy as np
import pytest

from clinometer.tools.study.tuning import line

_RATES = {16: 0.036, 64: 0.026, 128: 0.017}


@pytest.mark.parametrize("width", [17, 32, 48, 96])
def test_between_the_sizes(width):
    expected = np.interp(
        math.log(width), np.log(list(_RATES)), np.log(list(_RATES.values()))
    )
    found, how = line.rate(width, _RATES)
    assert (math.log(found), how) == (pytest.approx(expected, abs=1e-5), "interpolated")


def test_swept_sizes_keep_their_rates():
    assert line.rate(64, _RATES) == (0.026, "swept")
    assert line.rate(16, {16: 0.03}) == (0.03, "swept")


def test_beyond_the_ends_the_nearest_piece_continues():
    found, how = line.rate(256, _RATES)
    assert (found, how) == (pytest.approx(0.017**2 / 0.026, rel=1e-5), "extrapolated")
    found, how = line.rate(8, _RATES)
    expected = 0.036 * (0.036 / 0.026) ** 0.5
    assert (found, how) == (pytest.approx(expected, rel=1e-5), "extrapolated")


def test_one_size_makes_no_line():
    assert line.rate(32, {16: 0.03}) is None
