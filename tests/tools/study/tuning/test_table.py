"""Tests that the table of rates is read as it was written, and damaged ones by name."""

import json

import pytest

from clinometer.tests.tools.study.tuning import example_table
from clinometer.tools.study import errors
from clinometer.tools.study.tuning import table


def test_the_shipped_table_is_readable():
    assert table.read(table.SHIPPED).format_version == 1


def test_writing_and_reading_changes_nothing(tmp_path):
    made = example_table.made()
    path = tmp_path / "rates.json"
    table.write(path, made)
    assert [file.name for file in tmp_path.iterdir()] == ["rates.json"]
    again = table.read(path)
    assert again.to_json() == made.to_json()
    assert again.entries[0].rates == {16: 0.036, 128: 0.018}
    contents = json.loads(path.read_text())
    assert contents["format_version"] == 1
    point = contents["entries"][0]["sizes"][0]["losses"][2]
    assert point == {"rate": 0.06, "loss": None}


def test_the_hash_is_that_of_the_contents(tmp_path):
    made = example_table.made()
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(made.to_json()))  # Another layout.
    assert table.read(path).sha256 == made.sha256
    other = example_table.made(example_table.entry(curvature=0.27))
    assert other.sha256 != made.sha256


def test_entries_are_added_or_replaced():
    first = example_table.entry()
    again = example_table.entry(curvature=0.3)
    others = [
        example_table.entry(architecture="switch"),
        example_table.entry(settings={**example_table.SETTINGS, "train_steps": 60}),
        example_table.entry(corpus_hash="another"),
        example_table.entry(layers=(4, 4)),
    ]
    made = table.Table().updated([first]).updated([*others, again])
    assert len(made.entries) == 5
    assert first not in made.entries and again in made.entries
    assert made.updated(reversed(others)).sha256 == made.sha256


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format_version"], 2, "format_version is 2; this version reads 1"),
        (
            ["entries", 0, "sizes", 0, "rate"],
            "high",
            "entries.0.sizes.0.rate is 'high'",
        ),
        (["entries", 0, "sizes", 0, "rate"], -0.1, "entries.0.sizes: rate must be pos"),
        (["entries", 0, "sizes"], [], "entries.0.sizes is empty"),
        (["entries", 0, "check"], 3, "entries.0.check is 3"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, path, value, words):
    contents = json.loads(json.dumps(example_table.made().to_json()))
    node = contents
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(contents))
    with pytest.raises(errors.StudyError) as caught:
        table.read(file)
    assert str(file) in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"entries": []}', "\xff"])
def test_a_damaged_file_is_named(tmp_path, text):
    file = tmp_path / "rates.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(errors.StudyError, match="rates.json"):
        table.read(file)
    with pytest.raises(errors.StudyError, match="No such file"):
        table.read(tmp_path / "nowhere.json")
