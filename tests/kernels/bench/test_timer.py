"""Tests of the benchmark's timer: rounds, statistics and the agreement check."""

import math

import numpy as np
import pytest

from clinometer.kernels.bench import timer


class FakeClock:
    """A clock that only advances in the timed functions."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def function(self, name, *seconds):
        """Returns a function that takes these seconds, one call after the other."""
        durations = iter(seconds)

        def run():
            self.calls.append(name)
            self.now += next(durations)

        return run

    def __call__(self):
        return self.now


def test_rounds_are_interleaved_each_in_another_order():
    clock = FakeClock()
    functions = {name: clock.function(name, *[1.0] * 21) for name in "abc"}
    done = []
    timer.interleave(functions, 20, clock, done.append)
    calls = "".join(clock.calls)
    orders = [calls[i : i + 3] for i in range(3, len(calls), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    # Each is before and behind each other one, and none always in the same place.
    assert len(set(orders)) == 6
    assert done == list(range(1, 21))


def test_what_is_short_is_warmed_before_each_sample():
    clock = FakeClock()
    cold, warm = 0.04, 0.01
    timings = timer.interleave(
        {
            "short": clock.function("short", *[cold, cold, warm] * 2),
            "long": clock.function("long", *[1.0] * 3),
        },
        1,
        clock,
    )
    assert timings["short"].samples == pytest.approx((warm,))
    assert clock.calls.count("short") == 3
    assert clock.calls.count("long") == 2


def test_the_warm_up_is_not_a_sample():
    clock = FakeClock()
    timings = timer.interleave(
        {"a": clock.function("a", 100.0, 1.0, 2.0, 3.0, 4.0, 10.0)}, 5, clock
    )
    assert timings["a"].samples == (1.0, 2.0, 3.0, 4.0, 10.0)
    assert timings["a"].median == 3.0
    assert timings["a"].iqr == 2.0


def test_a_short_function_is_called_several_times_a_sample():
    clock = FakeClock()
    each = timer.SHORTEST_SAMPLE / 4
    timings = timer.interleave({"a": clock.function("a", *[each] * 11)}, 2, clock)
    assert len(clock.calls) == 1 + 2 * (1 + 4)
    assert timings["a"].samples == pytest.approx((each, each))


def test_a_function_that_the_clock_does_not_see_is_not_called_for_ever():
    clock = FakeClock()
    timings = timer.interleave({"a": clock.function("a", *[0.0] * 999)}, 2, clock)
    assert len(clock.calls) < 200
    assert timings["a"].median == 0.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([[1.0, -4.0]], 0.0),
        ([[1.0, -4.4]], 0.1),
        ([[1.0, np.nan]], math.inf),
        ([[1.0]], math.inf),
        ([[1.0, -4.0], [0.0]], math.inf),
    ],
)
def test_the_difference_is_a_part_of_the_largest_value(given, expected):
    truth = [np.array([1.0, -4.0])]
    given = [np.array(x) for x in given]
    assert timer.difference(truth, given) == pytest.approx(expected)


def test_integers_must_be_equal():
    three = [np.array([1, 2, 3])]
    assert timer.difference(three, [np.array([1, 2, 3])]) == 0.0
    assert timer.difference(three, [np.array([1, 2, 4])]) == math.inf


def test_values_that_are_all_zero_have_no_scale():
    assert timer.difference([np.zeros(3)], [np.full(3, 0.5)]) == 0.5


def test_a_disagreement_is_refused_and_told():
    one = [np.ones(2)]
    assert timer.check_agreement("a", one, [np.full(2, 1.001)], 1e-2) > 0.0
    with pytest.raises(timer.DisagreementError, match="conv: cpu.*0.5.*1e-02"):
        timer.check_agreement("conv: cpu", one, [np.full(2, 1.5)], 1e-2)
    with pytest.raises(timer.DisagreementError):
        timer.check_agreement("a", one, [np.full(2, np.nan)], 1e-2)
