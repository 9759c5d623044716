"""Compares the parabolas with numpy.polyfit, SciPy and known optima."""

import math

import numpy as np
import pytest
from scipy import optimize

from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study.tuning import parabola


def _polyfit(losses, rates):
    a, b, _ = np.polyfit(np.log(rates), [losses[rate] for rate in rates], 2)
    return math.exp(-b / (2 * a)), 2 * a


def test_one_size_is_polyfit():
    losses = measured.VANILLA[16]
    fitted = parabola.fit({16: losses})
    assert fitted.points[16] == (0.015, 0.03, 0.06)  # 0.0075 and 0.12 are too high.
    vertex, curvature = _polyfit(losses, fitted.points[16])
    assert fitted.vertices[16] == pytest.approx(vertex, rel=1e-6)
    assert fitted.curvature == pytest.approx(curvature, rel=1e-6)
    # With other points the vertex is another one.
    assert _polyfit(losses, measured.RATES)[0] != pytest.approx(vertex, rel=0.01)


def test_several_sizes_share_one_curvature():
    """SciPy fits the same model in its own parameters, by iteration."""
    # d64 has only two points within 0.15 nats of its lowest.
    sweeps = {width: measured.VANILLA[width] for width in (16, 32, 128)}
    fitted = parabola.fit(sweeps)
    assert not parabola.fit(measured.VANILLA).vertices.keys() - sweeps.keys()
    widths = sorted(sweeps)

    def residuals(parameters):
        curvature, *rest = parameters
        floors, logs = rest[: len(widths)], rest[len(widths) :]
        return [
            floor + curvature / 2 * (math.log(rate) - log) ** 2 - sweeps[width][rate]
            for width, floor, log in zip(widths, floors, logs)
            for rate in fitted.points[width]
        ]

    floors = [min(sweeps[width].values()) for width in widths]
    found = optimize.least_squares(
        residuals, [0.3, *floors, *[math.log(0.03)] * len(widths)], xtol=1e-14
    )
    assert fitted.curvature == pytest.approx(found.x[0], rel=1e-5)
    logs = found.x[1 + len(widths) :]
    for width, log in zip(widths, logs):
        assert math.log(fitted.vertices[width]) == pytest.approx(log, abs=1e-5)
    freedom = len(found.fun) - len(found.x)
    spread = math.sqrt(float(found.fun @ found.fun) / freedom)
    assert fitted.spread == pytest.approx(max(spread, parabola.SEED_SPREAD), rel=1e-4)
    covariance = fitted.spread**2 * np.linalg.inv(found.jac.T @ found.jac)
    assert fitted.curvature_error == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-3)


def test_known_vertices_are_found():
    rates = [0.03 * 2 ** (k / 2) for k in range(-6, 5)]
    sweeps = {
        width: {rate: measured.bowl(optimum, floor=floor)(rate) for rate in rates}
        for width, optimum, floor in ((16, 0.037, 4.4), (128, 0.0171, 4.1))
    }
    fitted = parabola.fit(sweeps)
    assert fitted.curvature == pytest.approx(0.27)
    assert fitted.vertices == pytest.approx({16: 0.037, 128: 0.0171})
    assert fitted.spread == parabola.SEED_SPREAD  # Exact points are taken for chance.
    assert fitted.is_determined


def test_the_error_of_the_curvature_covers():
    """The scatter of many noisy fits is the standard error that each states."""
    rates = [0.03 * 2 ** (k / 2) for k in (-2, -1, 0, 1, 2)]
    noise = np.random.default_rng(0)
    found, stated = [], []
    for _ in range(400):
        sweeps = {
            width: {r: measured.bowl(0.03)(r) + 0.03 * noise.normal() for r in rates}
            for width in (16, 128)
        }
        fitted = parabola.fit(sweeps)
        if all(len(points) == 5 for points in fitted.points.values()):
            found.append(fitted.curvature)
            stated.append(fitted.curvature_error)
    assert len(found) > 300
    assert np.std(found) == pytest.approx(np.sqrt(np.mean(np.square(stated))), rel=0.15)


def test_too_few_points_or_none():
    few = {0.015: 4.4, 0.03: 4.2, 0.06: 5.0}
    fitted = parabola.fit({64: few})
    assert fitted.points == {64: (0.03,)} and not fitted.vertices
    assert not fitted.is_determined
    diverged = dict.fromkeys(measured.RATES, math.inf)
    assert parabola.fit({16: diverged}).points == {16: ()}
    # The other size is fitted without it.
    both = parabola.fit({16: measured.VANILLA[16], 64: few})
    alone = parabola.fit({16: measured.VANILLA[16]})
    assert both.vertices == alone.vertices


def test_a_hill_has_no_vertex():
    fitted = parabola.fit({16: {0.015: 4.20, 0.03: 4.22, 0.06: 4.20}})
    assert fitted.curvature < 0 and not fitted.vertices and not fitted.is_determined
