"""Tests of reading, checking and writing typed JSON objects."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import pytest

from clinometer.train.run import schema


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Leaf(schema.Part):
    value: int
    note: str | None = schema.optional()
    rest: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tree(schema.Part):
    name: str
    size: int | float | None = None
    loss: float | None = schema.optional(name="train/loss")
    owner: str | None = schema.optional(null=False)
    leaf: _Leaf | None = None
    leaves: Mapping[str, _Leaf] = dataclasses.field(default_factory=dict)
    order: Sequence[_Leaf] = ()
    free: Any = None


@pytest.mark.parametrize(
    "contents",
    [
        {"name": "a"},
        {"name": "a", "size": None, "train/loss": None, "later": {"x": [1, None]}},
        {"name": "a", "leaf": {"value": 1, "more": 0.5}, "free": {"value": 1}},
        {"name": "a", "leaves": {"b": {"value": 1}}, "order": [{"value": 2}]},
        {"name": "a", "size": 0, "train/loss": 0.5, "owner": "b", "leaves": {}},
    ],
)
def test_what_is_read_is_written(contents):
    assert _Tree.from_json(contents).to_json() == contents


def test_what_is_new_is_written():
    made = _Tree(name="a", leaf=_Leaf(value=1))
    assert made.to_json() == {
        "name": "a",
        "size": None,
        "leaf": {"value": 1},
        "leaves": {},
        "order": [],
        "free": None,
    }
    read = _Tree.from_json({"name": "a", "later": 1})
    changed = dataclasses.replace(read, loss=0.5)
    assert changed.to_json() == {"name": "a", "train/loss": 0.5, "later": 1}


def test_values_have_their_types():
    read = _Tree.from_json({"name": "a", "order": [{"value": 2}], "train/loss": 0.5})
    assert read.order == (_Leaf(value=2),)
    assert (read.loss, read.size, read.leaf) == (0.5, None, None)
    values = {"name": "a", "train/loss": float("nan"), "later": 1}
    assert _Tree.of_values(values).rest == {"later": 1}


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({}, "^has no field 'name'"),
        ({"name": 1}, "^name is 1; accepted: str$"),
        ({"name": "a", "size": True}, "size is True; accepted: int or float or null$"),
        ({"name": "a", "size": 10**31}, "size is 1.*; accepted: .* of up to 1e.30"),
        ({"name": "a", "owner": None}, "owner is None; accepted: str$"),
        ({"name": "a", "train/loss": "low"}, "train/loss is 'low'"),
        ({"name": "a", "leaf": []}, r"leaf is \[\]; accepted: dict or null"),
        ({"name": "a", "leaf": {}}, "^leaf has no field 'value'"),
        ({"name": "a", "leaf": {"value": 1, "x": "y"}}, "leaf.x is 'y'"),
        ({"name": "a", "leaves": {"b": {"value": 0.5}}}, "leaves.b.value is 0.5"),
        ({"name": "a", "order": [{"value": 1}, 7]}, "order.1 is 7; accepted: dict"),
    ],
)
def test_what_is_wrong_is_named(contents, words):
    with pytest.raises(schema.FieldError, match=words):
        _Tree.from_json(contents)


def test_what_is_needed_is_asked_for():
    read = _Tree.from_json({"name": "a", "leaf": {"value": 1}, "size": None})
    read.require("name", "size", "leaf.value")
    for field in ("leaves", "leaf.note", "name.first"):
        with pytest.raises(schema.FieldError, match=f"has no field '{field}'"):
            read.require("name", field)
