"""Tests the choice of a size's rate: the vertex, the fallbacks and the cliff."""

import math

import pytest

from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study.tuning import optimum
from clinometer.tools.study.tuning import parabola


def _found(losses, width=16):
    return optimum.find(losses, parabola.fit({width: losses}), width)


@pytest.mark.parametrize(
    ("width", "begins"), [(16, None), (32, 0.12), (64, 0.06), (128, 0.06)]
)
def test_cliffs_of_the_measured_sweep(width, begins):
    """The first loss right of the lowest that is more than 0.3 above it."""
    assert optimum.cliff(measured.VANILLA[width]) == begins


def test_low_rates_are_no_cliff():
    assert optimum.cliff({0.001: 6.0, 0.03: 4.0, 0.06: 4.1}) is None
    assert optimum.cliff({0.03: 4.0, 0.06: 4.3, 0.12: 4.301}) == 0.12
    assert optimum.cliff({0.03: 4.0, 0.06: math.inf}) == 0.06


def test_the_vertex_is_the_rate():
    losses = {rate: measured.bowl(0.0351)(rate) for rate in measured.RATES}
    found = _found(losses)
    assert found.rate == pytest.approx(0.0351, rel=1e-5)
    assert (found.lowest, found.interior, found.remarks) == (0.03, True, ())


def test_the_measured_sizes():
    fitted = parabola.fit(measured.VANILLA)
    found = {w: optimum.find(x, fitted, w) for w, x in measured.VANILLA.items()}
    assert [found[w].lowest for w in (16, 32, 64, 128)] == [0.03, 0.03, 0.03, 0.015]
    assert all(one.interior for one in found.values())
    # d64 has two points near its lowest; d16 to d128 falls by some factor of two.
    assert found[64].remarks == (optimum.FEW_POINTS,) and found[64].rate == 0.03
    assert 1.5 < found[16].rate / found[128].rate < 3
    assert found[128].rate <= 0.06 / 1.5


def test_the_rate_stays_below_the_cliff():
    loss = measured.bowl(0.03, cliff=0.0424264)
    found = _found({r: loss(r) for r in (0.015, 0.0212132, 0.03, 0.0424264, 0.06)})
    assert found.cliff == 0.0424264
    assert found.rate == pytest.approx(0.0424264 / 1.5, rel=1e-5)
    assert optimum.NEAR_CLIFF in found.remarks


@pytest.mark.parametrize(
    ("losses", "remark"),
    [
        ({0.015: 4.5, 0.03: 4.2, 0.06: 4.5}, optimum.FEW_POINTS),
        # Within the spread of seeds, a curve of 0.01 nats is nothing.
        ({0.015: 4.21, 0.03: 4.2, 0.06: 4.21}, optimum.NOT_CURVED),
        ({0.015: 4.3, 0.03: 4.2}, optimum.AT_EDGE),
    ],
)
def test_otherwise_the_lowest_stands(losses, remark):
    found = _found(losses)
    assert found.rate == found.lowest == 0.03
    assert remark in found.remarks


def test_a_vertex_is_not_extrapolated():
    """The other size gives the curvature, and this one's points are on one side."""
    rates = [0.03 * 2 ** (k / 2) for k in range(-3, 4)]
    other = {rate: measured.bowl(0.03)(rate) for rate in rates}
    # Rates below the lowest are far above it, by another cause than curvature.
    mine = {0.015: 4.6, 0.03: 4.2, 0.0424264: 4.28, 0.05: 4.32}
    found = optimum.find(mine, parabola.fit({16: mine, 128: other}), 16)
    assert found.vertex is not None and found.vertex < 0.03
    assert (found.rate, found.remarks) == (0.03, (optimum.OUTSIDE,))


def _parabolas(curvature=0.26, error=0.05):
    return parabola.Parabolas({}, {}, curvature, error, 0.018)


@pytest.mark.parametrize("offset", [-0.5, -0.1, 0.0, 0.2, 0.6])
def test_the_check_finds_the_offset(offset):
    """On a parabola, two points at +- ln(sqrt 2) give the distance to its vertex."""
    loss = measured.bowl(0.03, 0.26)
    rate = 0.03 * math.exp(offset)
    found = optimum.check(loss(rate * 2**0.5), loss(rate / 2**0.5), _parabolas())
    assert found.offset == pytest.approx(offset, abs=1e-9)
    assert found.offset_error == pytest.approx(0.14, abs=0.005)  # As simulated.
    assert found.passed == (abs(offset) <= 2 * found.offset_error)


def test_the_check_fails_on_the_cliff_and_without_a_curvature():
    assert optimum.check(4.51, 4.2, _parabolas()).on_cliff
    assert not optimum.check(4.51, 4.2, _parabolas(5.0)).passed
    assert not optimum.check(math.inf, 4.2, _parabolas()).passed
    assert not optimum.check(4.2, 4.2, _parabolas(0.05, 0.05)).passed
    assert optimum.check(4.2, 4.2, _parabolas()).passed
