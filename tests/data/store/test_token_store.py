"""The token store, compared with tokenising one document at a time."""

import json
import os
import shutil

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.store import token_store
from clinometer.data.store import tokenized_units
from clinometer.data.store import vocabulary


def _expected(texts, vocab, split):
    chosen = [t for t in texts if tokenized_units.split_of(t, 0.1) == split]
    return [vocab.encode(text) for text in chosen]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_stream_is_the_documents_one_after_the_other(store, texts, split):
    documents = _expected(texts, store.vocabulary, split)
    stream = np.concatenate(documents)
    opened = store.split(split)
    assert opened.num_tokens == len(stream)
    assert opened.num_documents == len(documents)
    read = opened.read(0, len(stream))
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, stream)
    lengths = [len(document) for document in documents]
    np.testing.assert_array_equal(opened.document_offsets(), np.cumsum([0, *lengths]))


def test_reads_across_blocks(store, texts):
    stream = np.concatenate(_expected(texts, store.vocabulary, "train"))
    split = store.split("train")
    assert split.num_tokens > 3 * token_store.BLOCK_TOKENS
    block = token_store.BLOCK_TOKENS
    for start, length in [(0, 1), (block - 1, 2), (block, block), (7, 3 * block)]:
        np.testing.assert_array_equal(
            split.read(start, length), stream[start : start + length]
        )
    assert len(split.read(5, 0)) == 0
    assert not np.array_equal(split.read(1, 50), stream[:50])


def test_reads_outside_are_refused(store):
    split = store.split("train")
    with pytest.raises(DataError, match="are not in split 'train'"):
        split.read(split.num_tokens - 1, 2)
    with pytest.raises(DataError, match="no split 'test'; it has train, validation"):
        store.split("test")


def test_manifest(store, texts, small_vocabulary):
    manifest = store.manifest
    assert manifest.vocabulary["sha256"] == small_vocabulary.sha256
    assert manifest.vocabulary["size"] == 400
    assert manifest.dtype == "uint16"
    assert sum(entry["documents"] for entry in manifest.splits.values()) == len(texts)
    total = sum(entry["text_bytes"] for entry in manifest.splits.values())
    assert total == sum(len(text.encode()) for text in texts)
    assert len(manifest.corpus_hash) == 64


@pytest.fixture
def damaged(store, tmp_path):
    """Returns a copy of the store's folder, to be damaged."""
    return shutil.copytree(store.path, tmp_path / "copy")


def test_missing_store(tmp_path):
    with pytest.raises(DataError, match="is not a token store"):
        token_store.TokenStore.open(str(tmp_path))


@pytest.mark.parametrize(
    "file", ["train/tokens-00000.array_record", "vocabulary.model"]
)
def test_missing_and_truncated_files(damaged, file):
    path = damaged / file
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match="truncated or corrupt"):
        token_store.TokenStore.open(str(damaged))
    path.unlink()
    with pytest.raises(DataError, match=f"{file} is missing"):
        token_store.TokenStore.open(str(damaged))


def test_corrupt_block(damaged):
    path = damaged / "train/tokens-00000.array_record"
    data = bytearray(path.read_bytes())
    used = np.flatnonzero(np.frombuffer(data, np.uint8))  # files are padded by zeros
    middle = int(used[len(used) // 2])
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"corrupt|cannot read"):
        split = token_store.TokenStore.open(str(damaged)).split("train")
        split.read(0, split.num_tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"surprise": 1}, "bad manifest.json"),
    ],
)
def test_bad_manifest(damaged, change, message):
    path = damaged / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        token_store.TokenStore.open(str(damaged))


def test_unreadable_manifest(damaged):
    (damaged / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"bad manifest\.json"):
        token_store.TokenStore.open(str(damaged))


def test_other_vocabulary_is_refused(store, texts):
    other = vocabulary.train(texts, 350)
    with pytest.raises(DataError, match="was tokenised with vocabulary"):
        token_store.TokenStore.open(store.path, other)
    token_store.TokenStore.open(store.path, store.vocabulary)


def test_swapped_vocabulary_file_is_refused(damaged):
    path = damaged / "vocabulary.model"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="vocabulary"):
        token_store.TokenStore.open(str(damaged))
