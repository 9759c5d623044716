"""Readings at equal FLOPs against the curves that they interpolate."""

import numpy as np
import pytest
from scipy import optimize

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import errors


def test_a_reading_is_exact_on_a_parabola_of_the_root():
    design = studies.ladder(5, 2)
    x = design.flops_of(range(5)) ** -0.5 * 1e6
    values = 4 + 0.3 * x - 0.07 * x**2
    for cost in np.geomspace(*design.flops_of([0, 4]), 23):
        row = equal_compute.reading(design, "a", cost)
        at = cost**-0.5 * 1e6
        np.testing.assert_allclose(row @ values, 4 + 0.3 * at - 0.07 * at**2)
        np.testing.assert_allclose(row.sum(), 1)
        assert np.count_nonzero(row) <= 3
    # Mutation: a cubic is not read exactly.
    assert abs(row @ x**3 - at**3) < 1e-9  # At the last size itself it is.
    row = equal_compute.reading(design, "a", float(np.mean(design.flops_of([1, 2]))))
    at = np.mean(design.flops_of([1, 2])) ** -0.5 * 1e6
    assert abs(row @ x**3 - at**3) > 1e-3


def test_at_a_size_the_reading_is_its_mean():
    design = studies.first_study()
    for i in design.cells_of("mos"):
        row = equal_compute.reading(design, "mos", design.cells[i].flops)
        np.testing.assert_allclose(row, np.eye(len(row))[i], atol=1e-12)


def test_errors_of_interpolation_on_vanillas_power_law():
    """The root's parabola errs by less than 0.001 nats; its rivals by far more."""
    costs = np.array(studies.FLOPS["transformer"])

    def law(p, c):
        return p[0] + np.exp(p[1]) * (c / costs[0]) ** -p[2]

    fitted = optimize.least_squares(
        lambda p: law(p, costs) - studies.TUNED, [4.1, -1, 1]
    ).x
    values = law(fitted, costs)
    design = design_lib.planned(
        {"a": dict(zip(studies.WIDTHS, costs))},
        {"a": dict.fromkeys(studies.WIDTHS, "12")},
        {"a": 1},
    )
    at = np.geomspace(costs[0], costs[-1], 200)
    truth = law(fitted, at)
    ours = [equal_compute.reading(design, "a", c) @ values for c in at]
    log_parabola = []
    for c in at:
        near = np.sort(np.argsort(np.abs(np.log(costs / c)))[:3])
        log_parabola.append(
            np.polyval(np.polyfit(np.log10(costs[near]), values[near], 2), np.log10(c))
        )
    chord = np.interp(np.log(at), np.log(costs), values)
    errors_of = [np.abs(v - truth).max() for v in (ours, log_parabola, chord)]
    assert errors_of[0] < 0.001
    assert 0.006 < errors_of[1] < 0.010
    assert 0.015 < errors_of[2] < 0.03


def test_equal_curves_are_equal_at_equal_flops():
    design = studies.first_study()
    means = studies.true_means(design, studies.bent())
    for pair in equal_compute.compare_all(design, "transformer"):
        assert abs(pair.low @ means) < 0.0012
        assert abs(pair.high @ means) < 0.0012
        # At equal width they are not: MoS's smallest model costs 4.9 times vanilla's.
        for row in (pair.level, pair.gain_difference):
            np.testing.assert_allclose(row.sum(), 0, atol=1e-12)
    mos = equal_compute.compare(design, "mos", "transformer")
    # The number is known to two digits.
    np.testing.assert_allclose(mos.decades, 0.73, atol=0.005)
    cells = [design.cell(name, 16) for name in ("mos", "transformer")]
    assert means[cells[1]] - means[cells[0]] > 0.05


def test_level_and_difference_of_gain_by_hand():
    """Two architectures of equal costs: their ends are their own sizes."""
    design = studies.ladder(3, 2, costs=(1.0, 1.0))
    pair = equal_compute.compare(design, "b", "a")
    np.testing.assert_allclose(
        pair.level, np.array([-1, 0, -1, 1, 0, 1]) / 2, atol=1e-12
    )
    np.testing.assert_allclose(pair.gain_difference, [-1, 0, 1, 1, 0, -1], atol=1e-12)
    np.testing.assert_allclose(pair.reference_gain, [1, 0, -1, 0, 0, 0], atol=1e-12)


def test_the_steps_at_the_ends_enclose_them():
    design = studies.first_study()
    costs = np.array(studies.FLOPS["transformer"])
    own = design.cells_of("transformer")
    mos = equal_compute.compare(design, "mos", "transformer")
    low, high = equal_compute.step_gains(design, mos)
    for row, pair in ((low, (1, 2)), (high, (2, 3))):
        expected = np.zeros(len(design.cells))
        expected[own[list(pair)]] = np.array([1, -1]) / np.log10(
            costs[pair[1]] / costs[pair[0]]
        )
        np.testing.assert_allclose(row, expected)


@pytest.mark.parametrize(
    "design, message",
    [
        (studies.ladder(2, 3, (1.0, 1.2)), "needs 3 or more sizes; b has 2"),
        (studies.ladder(3, 3, (1.0, 100.0)), "a range that both cover"),
        (studies.ladder(3, 3), "'b'; accepted: a"),
    ],
)
def test_what_cannot_be_compared_is_refused(design, message):
    with pytest.raises(errors.InferenceError, match=message):
        equal_compute.compare(design, "b", "a")


def test_no_reading_outside_the_range_or_without_a_second_architecture():
    design = studies.ladder(3, 3)
    with pytest.raises(errors.InferenceError, match="outside a's range; accepted"):
        equal_compute.reading(design, "a", 1e10)
    with pytest.raises(errors.InferenceError, match="only a has runs"):
        equal_compute.compare_all(design, "a")
