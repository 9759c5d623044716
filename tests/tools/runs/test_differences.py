"""Tests which fields of configurations differ, and which say the same."""

from clinometer.tools.runs import differences

_CONFIGS = (
    {"seed": 1, "data.order": 10, "rate": 0.5, "sizes": [1, 2], "data.store": "/x"},
    {"seed": 2, "data.order": 20, "rate": 0.5, "sizes": [1, 2], "data.store": "/y"},
    {"seed": 2, "data.order": 20, "rate": 0.25, "sizes": [1, 2]},
)


def test_fields_that_differ_but_no_paths():
    found = differences.differing(_CONFIGS)
    assert found == {
        "data.order": (10, 20, 20),
        "rate": (0.5, 0.5, 0.25),
        "seed": (1, 2, 2),
    }
    assert differences.differing(_CONFIGS[:1]) == {}


def test_a_missing_field_is_none_and_types_count():
    found = differences.differing([{"a": 1, "b": True}, {"b": 1}])
    assert found == {"a": (1, None), "b": (True, 1)}


def test_fields_that_differ_between_the_same_runs_are_one_group():
    found = differences.grouped(differences.differing(_CONFIGS))
    assert found == {"rate": [], "seed": ["data.order"]}
