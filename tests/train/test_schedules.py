"""Tests of the learning-rate schedules against their closed forms."""

import math

import numpy as np
import pytest

from clinometer.train import errors
from clinometer.train import schedules
from clinometer.train.configs import pretrain


def _config(**fields):
    return {**pretrain.get_config().schedule, **fields}


def _values(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_rsqrt_is_t5s():
    schedule = schedules.make(_config(), 2**19)
    steps = [0, 1, 9_999, 10_000, 10_001, 40_000, 2**19 - 1]
    expected = [1 / math.sqrt(max(step, 10_000)) for step in steps]
    np.testing.assert_allclose(_values(schedule, steps), expected, rtol=1e-6)


def test_wsd():
    config = _config(name="wsd", learning_rate=0.03, final_fraction=0.1)
    schedule = schedules.make(config, 200)  # 10 steps of warmup, 60 of decay
    expected = []
    for step in range(200):
        rate = 0.03 * min(1.0, (step + 1) / 10)
        if step >= 140:
            rate = 0.03 * (1 - 0.9 * (step - 140) / 60)
        expected.append(rate)
    np.testing.assert_allclose(_values(schedule, range(200)), expected, rtol=1e-5)


def test_cosine():
    schedule = schedules.make(_config(name="cosine", learning_rate=0.5), 100)
    expected = []
    for step in range(100):
        if step < 5:
            expected.append(0.5 * (step + 1) / 5)
        else:
            expected.append(0.25 * (1 + math.cos(math.pi * (step - 5) / 95)))
    np.testing.assert_allclose(
        _values(schedule, range(100)), expected, rtol=1e-5, atol=1e-8
    )


def test_linear():
    config = _config(
        name="linear", learning_rate=0.2, warmup_steps=10, final_fraction=0.5
    )
    rates = [min(step + 1, 10) / 10 * 0.2 for step in range(10)]
    rates += [0.2 * (1 - 0.5 * (step - 10) / 90) for step in range(10, 100)]
    found = _values(schedules.make(config, 100), range(100))
    np.testing.assert_allclose(found, rates, rtol=1e-5)


def test_constant():
    schedule = schedules.make(_config(name="constant", learning_rate=0.25), 100)
    np.testing.assert_allclose(_values(schedule, [0, 50, 99]), 0.25)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "ramp"}, r"schedule\.name.*'ramp'.*rsqrt, wsd"),
        ({"name": "linear"}, "warmup_steps: 10000; linear accepts less than the 100"),
        ({"name": "wsd", "warmup_fraction": 0.8}, "add up to more than 1"),
        ({"name": "wsd", "decay_fraction": 1.5}, r"decay_fraction.*\[0, 1\].*1\.5"),
        ({"learning_rate": 0.0}, "learning_rate.*positive"),
        ({"warmup_steps": 0}, "warmup_steps.*at least 1"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(errors.RunError, match=message):
        schedules.make(_config(**fields), 100)
