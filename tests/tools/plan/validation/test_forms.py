"""Tests that the constants of rules are found."""

import math
import random

import pytest

from clinometer.tools.plan.step_time import Work
from clinometer.tools.plan.validation import forms

_RANDOM = random.Random(0)
WORKS = [
    Work(*(_RANDOM.uniform(0.05, 1.0) for _ in range(2)), _RANDOM.uniform(0.01, 0.05))
    for _ in range(9)
]


def loss(seconds, speeds):
    return sum(abs(math.log(t * v)) for t, v in zip(seconds, speeds, strict=True))


@pytest.mark.parametrize(
    ("rule", "seconds"),
    [
        (forms.FLOPS, lambda work: 3.0 * work.flops),
        (forms.FLOPS_CONSTANT, lambda work: 3.0 * work.flops + 0.02),
        (forms.CYCLES, lambda work: 0.6 * work.cycles + 0.9 * work.wire),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_planted_constants_are_found(rule, seconds):
    speeds = [1 / seconds(work) for work in WORKS]
    form = forms.fit(rule, WORKS, speeds)
    for work, speed in zip(WORKS, speeds):
        assert form.seconds(work) == pytest.approx(1 / speed, rel=2e-3)
    # One speed that is far off does not move the constants.
    for time in forms.leave_one_out(rule, WORKS, [10 * speeds[0], *speeds[1:]])[:1]:
        assert time == pytest.approx(1 / speeds[0], rel=2e-3)


def test_no_other_constants_are_better():
    speeds = [_RANDOM.uniform(1, 20) for _ in WORKS]
    form = forms.fit(forms.CYCLES, WORKS, speeds)
    least = loss([form.seconds(work) for work in WORKS], speeds)
    # The search has a step of a thousandth in the share of a term.
    for cycles in (0.01 * 1.03**k for k in range(150)):
        for wire in (0.01 * 1.03**k for k in range(150)):
            times = [cycles * work.cycles + wire * work.wire for work in WORKS]
            assert loss(times, speeds) >= least - 1e-2


def test_each_row_is_predicted_without_itself():
    speeds = [1 / (3.0 * work.flops) for work in WORKS]
    speeds[4] *= 2
    times = forms.leave_one_out(forms.FLOPS, WORKS, speeds)
    assert times[4] == pytest.approx(3.0 * WORKS[4].flops)
