"""Errors of rows name the file, the line and the field."""

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import task

LABELS = ("negative", "positive")


def row(**fields):
    return task.Row(fields, "a.tsv:3")


@pytest.mark.parametrize(
    ("value", "index"),
    [
        ("positive", 1),
        ("0", 0),
        (1, 1),
        ("-1", None),
        (-1, None),
        (None, None),
    ],
)
def test_a_label_is_a_name_a_number_or_absent(value, index):
    assert row(label=value).class_index(LABELS) == index


def test_without_a_label_field_there_is_no_label():
    assert row().class_index(LABELS) is None


def test_booleans_are_labels_where_they_are_named():
    assert row(label=True).class_index(("False", "True")) == 1
    with pytest.raises(DataError, match="label True is not valid"):
        row(label=True).class_index(LABELS)


@pytest.mark.parametrize("value", ["Positive", "2", 2, "", "-", -2, 0.5, [1]])
def test_a_label_outside_the_set(value):
    with pytest.raises(DataError, match=r"a.tsv:3: label .* negative, positive, or 0"):
        row(label=value).class_index(LABELS)


def test_text_must_be_there_and_be_text():
    assert row(s="x").text("s") == "x"
    with pytest.raises(DataError, match="a.tsv:3: no field 's'; the fields are t, u"):
        row(t="x", u="y").text("s")
    with pytest.raises(DataError, match="field 's' is int, not a string"):
        row(s=1).text("s")


def test_parts_stand_where_their_row_does():
    found = row(one={"s": "x"}, many=[{"s": "y"}])
    assert found.part("one").text("s") == "x"
    (part,) = found.parts("many")
    with pytest.raises(DataError, match="a.tsv:3: no field 't'"):
        part.text("t")
    with pytest.raises(DataError, match="a.tsv:3: field 'many' has list instead"):
        found.part("many")
    with pytest.raises(DataError, match="a.tsv:3: field 'one' is not a list"):
        list(found.parts("one"))
    with pytest.raises(DataError, match="a.tsv:3: field 'many' has int instead"):
        list(row(many=[3]).parts("many"))


def test_number():
    assert row(score="3.80").number("score") == 3.8
    assert row().number("score") is None
    with pytest.raises(DataError, match="a.tsv:3: score 'high' is not a number"):
        row(score="high").number("score")


@pytest.mark.parametrize("value", ["nine", None, [1], {}, 10**400])
def test_what_is_no_number_no_place_and_no_key(value):
    if value is not None:
        with pytest.raises(DataError, match=r"a.tsv:3: x .* is not a number"):
            row(x=value).number("x")
    with pytest.raises(DataError, match=r"a.tsv:3: x .* is not a whole number"):
        row(x=-1 if value == 10**400 else value).index("x")
    if not isinstance(value, str | int):
        with pytest.raises(
            DataError, match="a.tsv:3: field 'x' is .*, not a string or"
        ):
            row(x=value).key("x")


def test_long_fields_are_quoted_short():
    for value in ("9" * 5000, "x" * 140_000, 10**4000, [[1]] * 9999):
        with pytest.raises(DataError, match="label .* negative, positive") as caught:
            row(label=value).class_index(LABELS)
        assert len(str(caught.value)) < 1000


def test_places_keep_the_order_of_preference():
    assert task.places(("a/", ""), "x", "y") == ("a/x", "x", "a/y", "y")
