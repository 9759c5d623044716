"""Outcomes by hand, exclusive, and no more than five."""

import numpy as np
import pytest

from clinometer.tools.inference import errors
from clinometer.tools.inference import outcomes


@pytest.mark.parametrize(
    "low, high, loss, gain",
    [
        (-0.5, 0.5, "equivalent", "equivalent"),
        (0.1, 0.9, "different, negligibly", "different, negligibly"),
        (-0.9, -0.1, "different, negligibly", "different, negligibly"),
        (-0.5, 1.5, "undecided", "undecided"),
        (-3.0, 3.0, "undecided", "undecided"),
        (0.1, 1.5, "worse", "better"),
        (-1.5, -0.1, "better", "worse"),
        (2.0, 3.0, "worse", "better"),
        (0.0, 0.5, "equivalent", "equivalent"),
        (0.0, 1.0, "undecided", "undecided"),
    ],
)
def test_by_hand(low, high, loss, gain):
    assert outcomes.classify(low, high, 1.0, higher_is_better=False) == loss
    assert outcomes.classify(low, high, 1.0, higher_is_better=True) == gain


def test_the_direction_of_good_swaps_two_outcomes_only():
    rng = np.random.default_rng(0)
    ends = np.sort(rng.normal(0, 1, (1000, 2)), axis=1).T
    loss, gain = (
        outcomes.classify(*ends, 0.8, higher_is_better=good) for good in (False, True)
    )
    assert {*loss} == {*gain} == {o.value for o in outcomes.Outcome}
    swapped = {"better": "worse", "worse": "better"}
    assert [swapped.get(o, o) for o in loss] == list(gain)
    mirrored = outcomes.classify(-ends[1], -ends[0], 0.8, higher_is_better=False)
    assert list(mirrored) == list(gain)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf")])
def test_a_margin_is_a_finite_number_above_0(margin):
    with pytest.raises(errors.InferenceError, match="margin is .* above 0"):
        outcomes.classify(0, 1, margin, higher_is_better=True)
