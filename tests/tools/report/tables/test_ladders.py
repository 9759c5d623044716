"""Tests which models a line joins."""

import pytest

from clinometer.tools.report.tables import ladders


def joined(*names):
    """Returns the sets of models that lines join."""
    found = ladders.of([(name, "c") for name in names])
    return {
        frozenset(n for n, one in zip(names, found, strict=True) if one == each)
        for each in found
    }


@pytest.mark.parametrize(
    "sizes",
    [
        ("DM16-NH1-FF64-PI", "pico", "DM64-NH4-FF256-PI", "milli"),
        ("tiny", "mini", "small", "base", "large", "xl"),
        ("NL2-SM", "NL4-SM", "small", "NL8-SM"),
    ],
)
def test_models_that_only_grow_are_one_ladder(sizes):
    names = [f"transformer-{size}" for size in sizes]
    assert joined(*names) == {frozenset(names)}


def test_shapes_of_a_size_are_not_joined_with_others():
    names = ["NL2-SM", "small", "SH-BA", "NL16-SM", "base"]
    names = [f"transformer-{size}" for size in names]
    assert joined(*names) == {
        frozenset({"transformer-small", "transformer-base"}),
        *(frozenset({name}) for name in (names[0], names[2], names[3])),
    }


def test_architectures_and_conditions_are_apart():
    models = [
        ("glu-pico", "a"),
        ("glu-pico", "b"),
        ("own-big", "a"),
        ("own-small", "a"),
    ]
    found = ladders.of(models)
    assert len(set(found)) == 3
    assert found[2] == found[3]
