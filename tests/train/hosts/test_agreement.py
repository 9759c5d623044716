"""Tests that all processes refuse what one of them has otherwise."""

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tests.train.hosts import meeting
from clinometer.train import errors
from clinometer.train.hosts import agreement
from clinometer.train.hosts import group as group_lib

_FIELDS = {"train_steps": 8, "data.corpus_hash": "abc", "mesh.model": None}


def _prepared(change=lambda index: {}):
    """Returns what each of three processes makes of its fields, or its error."""

    def prepare(group):
        return agreement.prepared(
            group, lambda: _FIELDS | change(group.index), lambda made: made
        )

    return meeting.Meeting(3).each(prepare)


def test_equal_fields_go_on():
    assert _prepared() == [_FIELDS] * 3


def test_other_fields_are_named_by_all():
    results = _prepared(lambda i: {"train_steps": 9, "seed": 1} if i == 2 else {})
    assert {type(error) for error in results} == {errors.ConfigError}
    assert {str(error) for error in results} == {
        "all processes need the same configuration and data: seed is 1 in process 2 "
        "and missing in process 0; train_steps is 9 in process 2 and 8 in process 0"
    }


def test_the_type_counts():
    results = _prepared(lambda i: {"train_steps": 8.0} if i == 1 else {})
    assert "train_steps is 8.0 in process 1 and 8 in process 0" in str(results[0])


def test_many_fields_are_cut_short():
    results = _prepared(lambda i: {f"f{k}": k for k in range(8)} if i == 1 else {})
    assert str(results[0]).endswith("; and 3 more")


def test_a_refusal_of_one_is_one_of_all():
    def change(index):
        if index == 1:
            raise OptionError("config.data.store: no store at x")
        return {}

    results = _prepared(change)
    assert isinstance(results[1], OptionError)
    assert str(results[1]) == "config.data.store: no store at x"
    for other in (results[0], results[2]):
        assert isinstance(other, errors.ConfigError)
        assert str(other) == "process 1: config.data.store: no store at x"


def test_one_process_agrees_with_itself():
    made = agreement.prepared(group_lib.Group(), lambda: 3, lambda made: {"x": made})
    assert made == 3
    with pytest.raises(errors.RunError, match="^no$"):
        agreement.prepared(group_lib.Group(), _refuse, lambda made: {})


def _refuse():
    raise errors.RunError("no")
