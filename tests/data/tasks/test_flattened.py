"""Flattened texts are split into their fields."""

import json

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import flattened

FORM = flattened.PAIR.format("a", "b")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("sentence 1: x\nsentence 2: y ", ("x", "y ")),
        ('sentence 1: "say ""x"" now"\nsentence 2: "y"', ('say "x" now', '"y"')),
        # Not CSV quoting, because the inner quote is not doubled.
        ('sentence 1: "x" and "" "y"\nsentence 2: y', ('"x" and "" "y"', "y")),
    ],
)
def test_fields(tmp_path, text, fields):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps([{"sentence": text, "label": "contradiction"}]))
    (row,) = flattened.read(path, FORM, {"contradiction": "not_entailment"})
    assert (row["a"], row["b"]) == fields
    assert row["label"] == "not_entailment"


def test_a_text_of_another_form(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text('[{"sentence": "sentence 1: x", "label": "1"}]')
    with pytest.raises(DataError, match=r"dev.json\[0\]: field 'sentence' does not"):
        list(flattened.read(path, FORM))
