"""Tests of JSON files with and without finite numbers, and of invalid ones."""

import json
import math

import pytest

from clinometer.train.run import json_file


def _refuse(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": math.nan, "b": 1}, {"a": None, "b": 1, "not_finite": {"a": "nan"}}),
        ({"a": -math.inf}, {"a": None, "not_finite": {"a": "-inf"}}),
        (
            {"a": [{"b": math.inf}, 2.5]},
            {"a": [{"b": None, "not_finite": {"b": "inf"}}, 2.5]},
        ),
        ([math.nan, 1], [None, 1]),
        ({"a": (1, math.nan)}, {"a": [1, None]}),
    ],
)
def test_what_is_not_finite_is_null(tmp_path, value, expected):
    json_file.write(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text()
    assert json.loads(text, parse_constant=_refuse) == expected
    assert json_file.loads(json_file.dumps(value)) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 10**5, "nested too deeply"),
        (b'{"a":' * 10**5, "nested too deeply"),
        (b"9" * 10**4, "4300"),
        (b"NaN", "NaN is not a JSON number"),
        (b"[1e400]", "1e400 is not a JSON number"),
        (b"{} {}", "Extra data"),
        (b"7", "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_what_is_no_object(tmp_path, text, words):
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(ValueError, match=words):
        json_file.read_object(tmp_path / "file.json")


def test_older_files_may_hold_nan(tmp_path):
    assert json_file.loads("[NaN, -Infinity, 1e400, 2]", strict=False) == [
        None,
        None,
        None,
        2,
    ]
