"""Tests the threshold of the signal on draws of noise alone."""

import numpy as np
import pytest

from clinometer.tools.fit import errors
from clinometer.tools.fit import signal_to_noise


def test_noise_alone_is_clear_in_five_percent():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 6))
    threshold = signal_to_noise.measure(draws[0], [1.0] * 6).threshold
    share = np.mean(np.ptp(draws, axis=1) > threshold)
    # 4 standard errors of 5 % of 4,000.
    assert share == pytest.approx(0.05, abs=0.014)


def test_fewer_degrees_need_a_larger_signal():
    few = signal_to_noise.measure([60.0, 64.0], [1.0, 1.0], degrees=3)
    many = signal_to_noise.measure([60.0, 64.0], [1.0, 1.0])
    assert few.ratio == many.ratio == pytest.approx(4.0)
    assert few.threshold > many.threshold
    assert many.clear and not few.clear


def test_unknown_noise_is_unknown():
    found = signal_to_noise.measure([60.0, 70.0], [1.0, None])
    assert found.ratio is None and found.clear is None
    with pytest.raises(errors.FitError, match="2 or more"):
        signal_to_noise.measure([60.0], [1.0])
