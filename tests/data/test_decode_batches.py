"""Batches to decode: every input once, in few shapes."""

import numpy as np
import pytest

from clinometer.data import decode_batches
from clinometer.data.decode_batches import DecodeBatches
from clinometer.data.errors import DataError


@pytest.fixture(scope="module")
def inputs(texts):
    """Inputs of 5 to 600 characters, some of them twice."""
    rng = np.random.default_rng(0)
    lengths = (5 * 120 ** rng.random(100)).astype(int)
    made = [text[:length] for text, length in zip(texts, lengths)]
    return made + made[:7]


def _make(inputs, vocabulary, **changes):
    settings = {"batch_size": 8, "encoder_length": 128} | changes
    return DecodeBatches(inputs, vocabulary, **settings)


def test_usual_buckets():
    assert decode_batches.bucket_lengths(512) == (32, 64, 128, 256, 512)
    assert decode_batches.bucket_lengths(114) == (57, 114)
    assert decode_batches.bucket_lengths(48) == (48,)


def test_every_different_input_comes_once_and_finds_its_examples(
    inputs, small_vocabulary
):
    made = _make(inputs, small_vocabulary)
    different = sorted(set(inputs))
    assert made.num_rows == len(different)
    by_row = [None] * made.num_rows
    for batch in made:
        for tokens, row in zip(batch.encoder_input_tokens, batch.rows):
            if row == -1:
                assert not tokens.any()
            else:
                assert by_row[row] is None
                by_row[row] = tokens[tokens != 0].tolist()
    expected = [[*small_vocabulary.encode(text)[:127], 1] for text in inputs]
    assert made.by_example(by_row) == expected
    cut = sum(len(small_vocabulary.encode(text)) > 127 for text in different)
    assert made.truncated == cut > 0


def test_few_shapes_and_little_padding(inputs, small_vocabulary):
    made = _make(inputs, small_vocabulary)
    shapes = {batch.encoder_input_tokens.shape for batch in made}
    assert shapes == set(made.shapes) <= {(8, 32), (8, 64), (8, 128)}
    assert len(shapes) > 1
    padding = [int((batch.rows == -1).sum()) for batch in made]
    assert not any(padding[:-1]) and padding[-1] < 8
    assert len(made) == -(-made.num_rows // 8)
    # A row lies in the shortest bucket, but for what was left over of a shorter one.
    late = 0
    for batch in made:
        lengths = (batch.encoder_input_tokens != 0).sum(axis=1)
        width = batch.encoder_input_tokens.shape[1]
        late += int(((lengths <= width // 2) & (batch.rows >= 0) & (width > 32)).sum())
    assert late < 8 * (len(shapes) - 1)


def test_one_bucket_for_models_of_one_length(inputs, small_vocabulary):
    made = _make(inputs, small_vocabulary, buckets=(128,))
    assert made.shapes == ((8, 128),)


def test_batches_are_repeatable_and_sharded(inputs, small_vocabulary):
    made, again = (_make(inputs, small_vocabulary) for _ in range(2))
    for index, batch in enumerate(made):
        parts = [again.batch(index, shard, 4) for shard in range(4)]
        for whole, pieces in zip(batch, zip(*parts)):
            assert np.array_equal(whole, np.concatenate(pieces))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"encoder_length": 1}, "encoder_length is 1"),
        ({"buckets": (32, 64)}, r"Buckets \(32, 64\); accepted .* the encoder's, 128"),
        ({"buckets": (0, 128)}, "Buckets"),
        ({"buckets": (128, 256)}, "Buckets"),
    ],
)
def test_bad_settings(inputs, small_vocabulary, changes, message):
    with pytest.raises(DataError, match=message):
        _make(inputs, small_vocabulary, **changes)


def test_bad_requests(inputs, small_vocabulary):
    with pytest.raises(DataError, match="no input to decode"):
        _make([], small_vocabulary)
    made = _make(inputs, small_vocabulary)
    with pytest.raises(DataError, match=r"Decode batch 99 is not in \[0, "):
        made.batch(99)
