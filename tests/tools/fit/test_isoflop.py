"""Compares the best size at a budget with the law's minimum on a fine grid."""

import dataclasses

import numpy as np
import pytest

from clinometer.tools.fit import errors
from clinometer.tools.fit import isoflop
from clinometer.tools.fit import loss_surface

_LAW = loss_surface.LossSurface(1.69, 406.4, 410.7, 0.34, 0.28, 0.0, 1.0, (), 1.7)
_WORK = isoflop.Work(4.5, 1.0)
_SIZES, _TOKENS = (1e7, 1e10), (1e8, 1e12)


def test_the_minimum_is_that_of_the_law():
    found = isoflop.optimum(_LAW, 1e20, _WORK, _SIZES, _TOKENS)
    size = np.geomspace(1e8, 1e10, 200_001)
    loss = _LAW.predict(size, 1e20 / (4.5 * size))
    assert found.size == pytest.approx(size[np.argmin(loss)], rel=1e-3)
    assert found.loss == pytest.approx(loss.min(), rel=1e-9)
    assert found.size * found.tokens * 4.5 == pytest.approx(1e20)
    other = dataclasses.replace(_LAW, size_exponent=0.4)
    moved = isoflop.optimum(other, 1e20, _WORK, _SIZES, _TOKENS)
    assert abs(moved.size / found.size - 1) > 0.05


@pytest.mark.parametrize(
    "flops, sizes, words",
    [
        (1e20, (2e9, 1e10), "beyond the smallest"),
        (1e20, (1e7, 3e8), "beyond the largest"),
        (1e30, _SIZES, "no measured size"),
    ],
)
def test_a_minimum_at_an_edge_is_refused(flops, sizes, words):
    found = isoflop.optimum(_LAW, flops, _WORK, sizes, _TOKENS)
    assert found.size is None and words in found.reason


def test_a_law_without_one_of_its_terms_has_no_minimum():
    flat = dataclasses.replace(_LAW, data_coefficient=0.0)
    found = isoflop.optimum(flat, 1e20, _WORK, _SIZES, _TOKENS)
    assert "both" in found.reason


def test_parabolas_are_biased_even_without_noise():
    best = isoflop.optimum(_LAW, 1e20, _WORK, _SIZES, _TOKENS).size
    size = best * 2.0 ** np.arange(-4, 4)
    loss = _LAW.predict(size, 1e20 / (4.5 * size))
    curvature, slope, _ = isoflop.parabola(size, loss)
    vertex = np.exp(-slope / (2 * curvature))
    assert abs(vertex / best - 1) > 0.01  # What the law itself keeps.
    with pytest.raises(errors.FitError, match="3 or more"):
        isoflop.parabola([1e7, 1e8, 1e8], [3, 2, 2])


def test_work():
    found = isoflop.work([1, 2], [3, 4], [12, 64])
    assert found.factor == pytest.approx(np.sqrt(4 * 8))
    assert found.spread == pytest.approx(2)
    with pytest.raises(errors.FitError, match="positive"):
        isoflop.work([1], [0], [1])
