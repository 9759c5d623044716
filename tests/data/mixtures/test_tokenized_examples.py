"""Tokenised examples, and packing them into rows."""

from typing import NamedTuple

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.mixtures import tokenized_examples


class Text(NamedTuple):
    inputs: str
    targets: str


def _tokenized(input_lengths, target_lengths):
    """Returns examples of given lengths; the tokens of example i are 10 + i."""

    def ragged(lengths):
        flat = np.repeat(np.arange(10, 10 + len(lengths), dtype=np.uint16), lengths)
        return tokenized_examples.Ragged(flat, lengths)

    return tokenized_examples.TokenizedExamples(
        ragged(input_lengths), ragged(target_lengths), 0, 0
    )


def test_each_part_ends_in_eos(small_vocabulary, texts):
    examples = [Text(text[:90], text[90:110]) for text in texts[:50]] + [Text("", "")]
    made = tokenized_examples.tokenize(
        examples, small_vocabulary, encoder_length=500, decoder_length=100
    )
    assert len(made) == 51
    for k, example in enumerate(examples):
        assert made.inputs[k].tolist() == [*small_vocabulary.encode(example.inputs), 1]
        assert made.targets[k].tolist() == [
            *small_vocabulary.encode(example.targets),
            1,
        ]
    assert made.truncated_inputs == made.truncated_targets == 0
    assert made.inputs.flat.dtype == small_vocabulary.dtype


def test_a_long_example_loses_its_end_and_keeps_eos(small_vocabulary):
    word = small_vocabulary.encode("the value of the value of the value of")
    examples = [Text("the value of the value of the value of", "the"), Text("the", "")]
    fits = len(word) + 1
    for length, cut in ((fits, 0), (fits - 1, 1), (3, 1)):
        made = tokenized_examples.tokenize(
            examples, small_vocabulary, encoder_length=length, decoder_length=8
        )
        assert made.inputs[0].tolist() == [*word[: length - 1], 1]
        assert (made.truncated_inputs, made.truncated_targets) == (cut, 0)
    turned = [Text(example.targets, example.inputs) for example in examples]
    made = tokenized_examples.tokenize(
        turned, small_vocabulary, encoder_length=8, decoder_length=3
    )
    assert (made.truncated_inputs, made.truncated_targets) == (0, 1)


def test_sentinels_in_inputs_and_targets(small_vocabulary):
    examples = [Text("the <extra_id_0> of", "<extra_id_0> value")]
    the, of, value = map(small_vocabulary.encode, ("the", "of", "value"))
    for parse in (True, False):
        made = tokenized_examples.tokenize(
            examples,
            small_vocabulary,
            encoder_length=64,
            decoder_length=64,
            parse_sentinels=parse,
        )
        assert (399 in made.inputs[0]) == (399 in made.targets[0]) == parse
        if parse:
            assert made.inputs[0].tolist() == [*the, 399, *of, 1]
            assert made.targets[0].tolist() == [399, *value, 1]


def test_parts_and_threads_change_nothing(small_vocabulary, texts, monkeypatch):
    whole, cut = tokenized_examples.encode(texts[:60], small_vocabulary, 300, 1)
    assert 0 < cut < 60
    monkeypatch.setattr(tokenized_examples, "_CHUNK", 7)
    parts, again = tokenized_examples.encode(iter(texts[:60]), small_vocabulary, 300, 2)
    assert again == cut
    assert np.array_equal(parts.flat, whole.flat)
    assert np.array_equal(parts.offsets, whole.offsets)


@pytest.mark.parametrize("name", ["encoder_length", "decoder_length"])
def test_a_length_without_room(small_vocabulary, name):
    lengths = {"encoder_length": 9, "decoder_length": 9, name: 1}
    with pytest.raises(DataError, match=f"{name} is 1; accepted is 2 or more"):
        tokenized_examples.tokenize([], small_vocabulary, **lengths)


def test_packing_by_hand():
    # Rows of 10 and 5: 0 and 1 fill the first's targets, 2 goes into a second row,
    # 3 fits neither by its inputs, 4 the second.
    examples = _tokenized([4, 3, 3, 8, 6], [2, 3, 2, 1, 3])
    rows = tokenized_examples.pack(examples, np.arange(5), 10, 5)
    assert [rows[k].tolist() for k in range(3)] == [[0, 1], [2, 4], [3]]
    rows = tokenized_examples.pack(examples, np.array([3, 2, 4, 1, 0]), 10, 5)
    assert [rows[k].tolist() for k in range(3)] == [[3], [2, 4], [1, 0]]


@pytest.mark.parametrize("open_rows", [1, 3, 128])
def test_packing_holds_each_example_once_and_overfills_no_row(open_rows, monkeypatch):
    monkeypatch.setattr(tokenized_examples, "_OPEN_ROWS", open_rows)
    rng = np.random.default_rng(0)
    examples = _tokenized(rng.integers(1, 16, 300), rng.integers(1, 5, 300))
    rows = tokenized_examples.pack(examples, rng.permutation(300), 32, 10)
    assert sorted(rows.flat.tolist()) == list(range(300))
    for k in range(len(rows)):
        assert examples.inputs.lengths[rows[k]].sum() <= 32
        assert examples.targets.lengths[rows[k]].sum() <= 10
    least = max(examples.inputs.lengths.sum() / 32, examples.targets.lengths.sum() / 10)
    assert len(rows) < least * {1: 1.5, 3: 1.3, 128: 1.1}[open_rows]
