"""Vocabularies: T5's ids, special ids, sentinels and deterministic training."""

import pickle

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.store import vocabulary


def test_t5_model_gives_t5_ids(shared_dir):
    t5 = vocabulary.Vocabulary.load(str(shared_dir / "data/t5/spiece.model"))
    assert t5.sha256.startswith("d60acb128cf7b7f2536e8f38a5b18a05")
    assert (t5.size, t5.padded_size()) == (32100, 32128)
    text = "translate English to German: That is good."
    assert t5.encode(text) == [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]
    assert t5.sentinel_id(0) == 32099
    assert t5.sentinel_id(99) == 32000
    assert t5.encode("<extra_id_0>", parse_sentinels=True) == [32099]
    assert 32099 not in t5.encode("<extra_id_0>")


def test_layout_of_ids(small_vocabulary):
    vocab = small_vocabulary
    assert vocab.size == 400
    assert vocab.padded_size() == 512
    assert vocab.padded_size(100) == 400
    assert (vocab.pad_id, vocab.eos_id, vocab.unk_id) == (0, 1, 2)
    assert vocab.sentinel_id(0) == 399
    assert vocab.sentinel_id(99) == 300
    assert vocab.dtype == np.uint16


def test_sentinels_survive_a_round_trip(small_vocabulary):
    text = "the function <extra_id_0> returns <extra_id_99>"
    ids = small_vocabulary.encode(text, parse_sentinels=True)
    assert [i for i in ids if i >= 300] == [399, 300]
    assert small_vocabulary.decode([*ids, 1, 0, 0]) == text


def test_line_ends_and_blanks_are_one_space(small_vocabulary):
    spaced = small_vocabulary.encode("the\n\n  value\tof")
    assert spaced == small_vocabulary.encode("the value of")
    assert spaced != small_vocabulary.encode("thevalue of")


def test_encode_batch_equals_encode_for_any_number_of_threads(small_vocabulary, texts):
    expected = [small_vocabulary.encode(text) for text in texts[:50]]
    for threads in (1, 3):
        encoded = small_vocabulary.encode_batch(texts[:50], threads)
        assert [ids.tolist() for ids in encoded] == expected
        assert all(ids.dtype == np.uint16 for ids in encoded)


def test_encode_batch_parses_sentinels_where_asked(small_vocabulary):
    texts = ["the <extra_id_1> of", "a value", ""]
    encoded = small_vocabulary.encode_batch(texts, parse_sentinels=True)
    the, of, value = map(small_vocabulary.encode, ("the", "of", "a value"))
    assert [ids.tolist() for ids in encoded] == [[*the, 398, *of], value, []]
    assert all(ids.dtype == np.uint16 for ids in encoded)
    plain = np.concatenate(small_vocabulary.encode_batch(texts))
    assert plain.max() < 300  # no sentinel


def test_training_twice_gives_the_same_bytes(small_vocabulary, texts):
    assert vocabulary.train(texts, 400).model == small_vocabulary.model
    assert vocabulary.train(texts[1:], 400).model != small_vocabulary.model


def test_pickle(small_vocabulary):
    copy = pickle.loads(pickle.dumps(small_vocabulary))
    assert copy.encode("some text") == small_vocabulary.encode("some text")


def test_training_lines_are_cut_and_limited():
    long = "é" * 5000
    lines = list(vocabulary._lines([long, "  \n\nend "], 1 << 20))
    assert "".join(lines) == long + "end"
    assert max(len(line.encode()) for line in lines) <= 4192
    assert list(vocabulary._lines(["one", "two", "three"], 6)) == ["one", "two"]


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [(["a b c"], 50, "too small"), (["a b c"], 5000, "Could not train")],
)
def test_impossible_training_is_refused(texts, size, message):
    with pytest.raises(DataError, match=message):
        vocabulary.train(texts, size)


def test_a_training_error_has_no_doubled_full_stop():
    with pytest.raises(DataError, match=r"<= \d+\. Use more text") as caught:
        vocabulary.train(["a b c"], 5000)
    assert ".." not in str(caught.value)


def test_bad_models_are_refused(tmp_path, small_vocabulary):
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"bad\.model.*Not a SentencePiece model"):
        vocabulary.Vocabulary.load(str(bad))
    with pytest.raises(DataError, match="is not a file"):
        vocabulary.Vocabulary.load(str(tmp_path / "missing"))
    with pytest.raises(DataError, match="Token 400"):
        small_vocabulary.decode([400])
    with pytest.raises(DataError, match="Sentinel 100"):
        small_vocabulary.sentinel_id(100)
