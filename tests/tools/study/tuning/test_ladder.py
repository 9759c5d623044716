"""Tunes synthetic ladders, whose optima are known, to the end."""

import math

import numpy as np
import pytest

from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study.tuning import grid
from clinometer.tools.study.tuning import ladder


def _tuned(widths, loss):
    """Tunes with a function of width and rate; returns the tuning and its losses."""
    losses = {}
    while missing := (tuning := ladder.tune(widths, losses)).missing:
        for width, rate in missing:
            assert rate not in losses.get(width, {})
            losses.setdefault(width, {})[rate] = loss(width, rate)
    return tuning, losses


def _power(width):
    return 0.036 * (width / 16) ** -0.35


def _smooth(width, rate):
    return measured.bowl(_power(width))(rate)


def test_a_straight_line_is_swept_at_its_ends_and_checked():
    tuning, losses = _tuned([16, 32, 64, 128], _smooth)
    assert tuning.rates == pytest.approx({w: _power(w) for w in (16, 128)}, rel=1e-4)
    assert (tuning.check.width, len(losses[64]), 32 in losses) == (64, 2, False)
    assert tuning.check.rate == pytest.approx(_power(64), rel=1e-3)
    assert tuning.check.result.offset == pytest.approx(0, abs=1e-3)
    assert tuning.check.result.passed
    assert not ladder.never_trained(tuning)


def test_a_line_that_is_bent_is_drawn_piece_by_piece():
    def bent(width, rate):
        return measured.bowl(0.02 if width == 64 else _power(width) * 2)(rate)

    tuning, losses = _tuned([16, 32, 64, 128], bent)
    assert not tuning.check.result.passed
    assert sorted(tuning.rates) == [16, 64, 128]
    assert tuning.rates[64] == pytest.approx(0.02, rel=1e-4)
    assert tuning.check.result.offset == pytest.approx(
        math.log(tuning.check.rate / 0.02), abs=0.01
    )
    # The check's runs stay out of the sweep.
    assert set(losses[64]) - set(tuning.sweeps[64])
    assert all(map(grid.is_on_grid, tuning.sweeps[64]))


def test_a_check_on_the_cliff_sweeps_that_size():
    def loss(width, rate):
        return measured.bowl(_power(width), cliff=0.027 if width == 64 else 1e9)(rate)

    tuning, _ = _tuned([16, 64, 128], loss)
    assert tuning.check.result.on_cliff
    assert tuning.optima[64].cliff == 0.03
    assert tuning.rates[64] <= 0.03 / 1.5


@pytest.mark.parametrize("widths", [[16], [16, 128]])
def test_fewer_sizes_need_no_check(widths):
    tuning, losses = _tuned(widths, _smooth)
    assert tuning.check is None
    assert sorted(losses) == sorted(tuning.rates) == widths


def test_the_measured_losses_need_only_finer_rates():
    missing = ladder.tune([16, 32, 64, 128], measured.VANILLA).missing
    assert missing == (
        *((16, rate) for rate in (0.0212132, 0.0424264)),
        *((128, rate) for rate in (0.0106066, 0.0212132)),
    )


def test_an_interrupted_sweep_goes_on_from_what_is_there():
    _, losses = _tuned([16, 64, 128], _smooth)
    removed = {w: dict(found) for w, found in losses.items()}
    del removed[128][0.015], removed[16][0.03]
    assert set(ladder.tune([16, 64, 128], removed).missing) == {
        (128, 0.015),
        (16, 0.03),
    }


def test_sizes_that_never_train_are_named():
    tuning, _ = _tuned([16, 128], lambda width, rate: math.inf)
    assert ladder.never_trained(tuning) == [16, 128]
    assert not any(optimum.interior for optimum in tuning.optima.values())


def test_noise_moves_the_rate_by_little():
    """With seeds' scatter the vertex errs by less than the grid's step of 0.35."""
    noise = np.random.default_rng(1)
    errors = []
    for _ in range(100):
        tuning, _ = _tuned(
            [16, 128], lambda w, rate: _smooth(w, rate) + 0.018 * noise.normal()
        )
        errors += [math.log(tuning.rates[w] / _power(w)) for w in (16, 128)]
    assert np.std(errors) < 0.2
    assert abs(np.mean(errors)) < 0.05
