"""Compares lists of runs with lists written by hand."""

import pytest

from clinometer.tools.study import plan
from clinometer.train import errors


def _names(*args, **kwargs):
    return [run.name for run in plan.plan_runs(*args, **kwargs)]


def test_the_first_study():
    assert _names(
        ["transformer"], ["pico", "nano", "micro", "milli"], [0], replicate_seeds=[1]
    ) == [
        "transformer-pico-s0",
        "transformer-pico-s1",
        "transformer-nano-s0",
        "transformer-micro-s0",
        "transformer-milli-s0",
    ]


def test_both_ends_and_repeats():
    names = _names(
        ["a", "b"],
        ["x", "y", "x"],
        [0, 1],
        replicate_seeds=[1, 2],
        replicate_largest=True,
    )
    assert names == [
        *("a-x-s0", "a-x-s1", "a-x-s2", "a-y-s0", "a-y-s1"),
        *("b-x-s0", "b-x-s1", "b-x-s2", "b-y-s0", "b-y-s1"),
    ]
    assert _names(
        ["a"], ["x", "y"], [0], replicate_seeds=[1], replicate_largest=True
    ) == [
        *("a-x-s0", "a-x-s1", "a-y-s0", "a-y-s1"),
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([], ["x"], [0]), "no architectures"),
        ((["a"], [], [0]), "no sizes"),
        ((["a"], ["x"], []), "no seeds"),
        ((["a"], ["x"], [-1]), "0 or above"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(errors.ConfigError, match=words):
        plan.plan_runs(*arguments)
