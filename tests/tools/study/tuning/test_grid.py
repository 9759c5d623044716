"""Follows sweeps of losses with known optima to their end."""

import math

import pytest

from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study.tuning import grid


def _swept(loss):
    """Sweeps a function of the rate; returns rate -> loss and the number of rounds."""
    losses, rounds = {}, 0
    while rates := grid.next_rates(losses):
        assert not set(rates) & set(losses)
        losses |= {rate: loss(rate) for rate in rates}
        rounds += 1
    return losses, rounds


def test_the_first_rates_are_factors_of_two_apart():
    assert grid.next_rates({}) == (0.015, 0.03, 0.06)
    assert grid.next_rates({0.03: 4.0}) == (0.015, 0.06)


def test_an_optimum_in_the_middle_gets_two_more_rates():
    losses, rounds = _swept(measured.bowl(0.03))
    assert sorted(losses) == pytest.approx(
        [0.015, 0.03 / 2**0.5, 0.03, 0.03 * 2**0.5, 0.06], rel=1e-5
    )
    assert rounds == 2


@pytest.mark.parametrize("optimum", [0.001, 0.0052, 0.03, 0.044, 0.26, 1.1])
def test_the_lowest_becomes_interior_with_neighbors_at_sqrt_2(optimum):
    losses, _ = _swept(measured.bowl(optimum))
    best = grid.lowest(losses)
    assert grid.is_interior(losses)
    assert abs(math.log(best / optimum)) <= math.log(2) / 4 + 1e-4
    for factor in (2**0.5, 2**-0.5):
        assert grid.rounded(best * factor) in {grid.rounded(r) for r in losses}


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (16, (0.0212132, 0.0424264)),
        (32, (0.0212132, 0.0424264)),
        (64, (0.0212132, 0.0424264)),
        (128, (0.0106066, 0.0212132)),
    ],
)
def test_the_measured_sweep_lacks_only_the_finer_rates(width, missing):
    assert grid.next_rates(measured.VANILLA[width]) == missing


def test_a_slope_without_end_stops_at_the_edge():
    losses, _ = _swept(lambda rate: -math.log(rate))
    assert not grid.is_interior(losses)
    assert max(losses) == grid.lowest(losses) == pytest.approx(0.03 * 64)
    losses, _ = _swept(math.log)
    assert not grid.is_interior(losses)
    assert min(losses) == grid.lowest(losses) == pytest.approx(0.03 / 64)


def test_diverged_runs_are_the_highest_of_all():
    losses, _ = _swept(lambda rate: math.inf if rate > 0.02 else 4 - rate)
    assert grid.lowest(losses) == 0.015
    assert grid.is_interior(losses)
    assert grid.next_rates(dict.fromkeys((0.015, 0.03, 0.06), math.inf)) == (0.0075,)


def test_a_check_s_rates_are_not_the_grid_s():
    assert grid.is_on_grid(0.03) and grid.is_on_grid(0.0212132)
    assert not grid.is_on_grid(0.0213) and not grid.is_on_grid(0.025)
