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


def test_passes_follow_the_seeds_of_a_size():
    runs = plan.plan_runs(["a"], ["x", "y"], [5, 0], replicate_seeds=[1, 2])
    passes = {run.name: run.pass_number for run in runs}
    assert passes == {"a-x-s5": 1, "a-x-s0": 2, "a-x-s1": 3, "a-x-s2": 4} | {
        "a-y-s5": 1,
        "a-y-s0": 2,
    }


def test_orders_share_no_initialization():
    runs = plan.plan_orders("a", ["x", "y"], [2, 1], 3)
    assert [run.name for run in runs] == [
        *("a-x-o1-s100", "a-x-o1-s101", "a-x-o1-s102"),
        *("a-x-o2-s200", "a-x-o2-s201", "a-x-o2-s202"),
        *("a-y-o1-s100", "a-y-o1-s101", "a-y-o1-s102"),
    ]
    assert [run.pass_number for run in runs] == [1, 1, 1, 2, 2, 2, 1, 1, 1]
    assert len({(run.model, run.seed) for run in runs}) == len(runs)
    later = plan.plan_orders("a", ["x"], [2], 1, first=3)
    assert [run.name for run in later] == ["a-x-o3-s300", "a-x-o4-s400"]
    assert [run.pass_number for run in later] == [1, 2]


def test_a_sweep_s_run_is_named_by_its_rate():
    run = plan.PlannedRun("a-x", 7, role="sweep", learning_rate=0.0212132)
    assert run.name == "a-x-r0.0212132-s7"
    assert run.marks()["role"] == "sweep"
