"""Damaged token stores give either the correct tokens or a DataError."""

import collections
import json
import pathlib
import shutil

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.store import token_store
from clinometer.data.store import vocabulary
from clinometer.tests.data import damage


def _contents(path):
    """Returns everything that training and `overlap` read from a store."""
    opened = token_store.TokenStore.open(str(path))
    found = {}
    for name in opened.manifest.splits:
        split = opened.split(name)
        found[name] = (split.read(0, split.num_tokens), split.document_offsets())
    return found


def _same(left, right):
    return all(
        np.array_equal(one, other)
        for name, arrays in right.items()
        for one, other in zip(left[name], arrays, strict=True)
    )


class _Copies:
    """Copies of a store with one damaged file; the other files are links."""

    def __init__(self, path, folder):
        self._path, self._folder = pathlib.Path(path), folder
        self.files = sorted(
            str(file.relative_to(path))
            for file in self._path.rglob("*")
            if file.is_file()
        )

    def with_file(self, name, data):
        """Returns a copy in which one file has the given contents."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for file in self.files:
            place = self._folder / file
            place.parent.mkdir(parents=True, exist_ok=True)
            if file != name:
                place.symlink_to(self._path / file)
        (self._folder / name).write_bytes(data)
        return self._folder

    def read(self, name):
        return (self._path / name).read_bytes()


def _outcomes(store, folder, cases, seed):
    """Returns how many damaged stores are refused, and how many read correctly."""
    copies, expected = _Copies(store.path, folder), _contents(store.path)
    outcomes = collections.Counter()
    for case in range(cases):
        rng = np.random.default_rng([seed, case])
        name = str(rng.choice(copies.files))
        if name == token_store.MANIFEST and rng.random() < 0.7:
            manifest = damage.misshapen(json.loads(copies.read(name)), rng)
            kind, data = "misshapen", json.dumps(manifest).encode()
        else:
            kind, data = damage.damaged(copies.read(name), rng)
        try:
            contents = _contents(copies.with_file(name, data))
        except DataError as error:
            assert str(folder) in str(error), (case, name, kind)
            outcomes["refused"] += 1
        else:
            assert _same(expected, contents), (case, name, kind)
            # A store without a split is one, too.
            outcomes["a split less" if len(contents) < 2 else "as it was"] += 1
    return outcomes


@pytest.mark.slow
def test_damaged_stores_are_refused_or_right(store, tmp_path):
    outcomes = _outcomes(store, tmp_path / "copy", cases=1000, seed=0)
    assert outcomes["refused"] > 600


@pytest.mark.matrix
def test_many_damaged_stores(store, tmp_path, record_property):
    for name, count in _outcomes(store, tmp_path / "copy", 10000, seed=1).items():
        record_property(name, count)


def test_a_bad_record_is_named_by_file_and_number(store, tmp_path):
    name = "train/documents.array_record"
    copies = _Copies(store.path, tmp_path / "copy")
    data = bytearray(copies.read(name))
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    at = int(used[used > 200][0])  # in the first chunk of records
    data[at] ^= 1
    opened = token_store.TokenStore.open(str(copies.with_file(name, bytes(data))))
    with pytest.raises(DataError, match=rf"record 0 of {name} is corrupt: Corrupted"):
        opened.split("train").document_offsets()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": None}, "splits is not of type dict"),
        ({"name": 3}, "name is not of type str"),
        ({"block_tokens": 0}, "block_tokens is 0"),
        ({"block_tokens": True}, "block_tokens is not of type int"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"vocabulary": {}}, "vocabulary.sha256"),
        ({"splits": {"train": {"tokens": 1}}}, "splits.train.documents"),
        ({"splits": {"train": []}}, "splits.train is not an object"),
    ],
)
def test_a_manifest_of_another_shape_is_named(store, tmp_path, change, message):
    copies = _Copies(store.path, tmp_path / "copy")
    manifest = json.loads(copies.read("manifest.json")) | change
    path = copies.with_file("manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DataError, match=rf"bad manifest\.json: {message}"):
        token_store.TokenStore.open(str(path))


@pytest.mark.parametrize("data", [b"[" * 100000, b"\xff\xfe", b"null", b"3"])
def test_a_manifest_that_is_no_object(store, tmp_path, data):
    path = _Copies(store.path, tmp_path / "copy").with_file("manifest.json", data)
    with pytest.raises(DataError, match=r"manifest\.json|format version None"):
        token_store.TokenStore.open(str(path))


@pytest.mark.slow
def test_damaged_models_are_refused_or_work(small_vocabulary, tmp_path):
    path, outcomes = tmp_path / "spoilt.model", collections.Counter()
    for case in range(1000):
        kind, data = damage.damaged(
            small_vocabulary.model, np.random.default_rng([2, case])
        )
        path.write_bytes(data)
        try:
            loaded = vocabulary.Vocabulary.load(str(path))
        except DataError as error:
            assert str(path) in str(error), (case, kind)
            outcomes["refused"] += 1
        else:
            loaded.decode(loaded.encode("the value of {x}"))
            outcomes["loaded"] += 1
    assert outcomes["refused"] > 500
