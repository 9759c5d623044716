"""Tests of reading prompts."""

import io
import types

import numpy as np
import pytest

from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.train import errors
from clinometer.train.generation import prompts


@pytest.fixture(scope="module")
def vocabulary():
    return vocabulary_lib.train(["the dog walks in the park"] * 20, 120)


def test_sentinels_are_tokens_and_no_prompt_is_cut(vocabulary):
    (found,) = prompts.tokens(
        prompts.given(["the <extra_id_0> in <extra_id_99>"]), vocabulary, 64
    )
    # Sentinel j is the j-th id from the end.
    np.testing.assert_array_equal(found[found >= vocabulary.size - 100], [119, 20])
    assert found[-2:].tolist() == [20, 1]
    assert vocabulary.decode(found) == "the <extra_id_0> in <extra_id_99>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prompt 2: the prompt is empty"),
        (" \t ", "prompt 2: the prompt is empty"),
        (
            "<extra_id_100>",
            "no '<extra_id_100>'; accepted: .* to <extra_id_99>",
        ),
        ("a <extra_id_" + "9" * 5000 + ">", r"no '<extra_id_9+'?\.\.\. \(5013 char"),
        ("\udcff", "prompt 2: not valid Unicode"),
        ("<extra_id_0>" * 8, r"prompt 2: 9 tokens .*; accepted: at most 8 \(--encoder"),
    ],
)
def test_what_is_no_prompt(vocabulary, text, message):
    with pytest.raises(errors.ConfigError, match=message):
        prompts.tokens(prompts.given(["dog", text]), vocabulary, 8)


def test_the_longest_prompt_is_accepted(vocabulary):
    (found,) = prompts.tokens(prompts.given(["<extra_id_0>" * 7]), vocabulary, 8)
    assert found.tolist() == [119] * 7 + [1]


@pytest.mark.parametrize("end", ["", "\n"])
def test_one_prompt_a_line(tmp_path, monkeypatch, end):
    data = f"eins\n\nzwölf{end}".encode()
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    for given, name in ((str(path), str(path)), ("-", "stdin")):
        found = prompts.read(given)
        assert [prompt.text for prompt in found] == ["eins", "", "zwölf"]
        assert found[2].origin == f"{name}:3"


@pytest.mark.parametrize("data", [b"", b"one\n\xff\n"])
def test_files_that_are_not_lines_of_text(tmp_path, monkeypatch, data):
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    for given in (str(path), "-"):
        with pytest.raises(errors.ConfigError, match="--file: .*(empty|UTF-8|utf-8)"):
            prompts.read(given)
    with pytest.raises(errors.ConfigError, match="--file: .*nowhere: No such file"):
        prompts.read(str(tmp_path / "nowhere"))
