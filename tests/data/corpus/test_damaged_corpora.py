"""Damaged corpora give the correct documents, or broken records that name the file."""

import collections
import gzip
import io
import json
import lzma
import tarfile

from array_record.python import array_record_module
import numpy as np
import pytest
import zstandard

from clinometer.data.corpus import documents as corpus
from clinometer.tests.data import damage

_COMPRESS = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
_JOINED = 2  # parts of a compressed file


def _lines(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def _tar(texts):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, text in enumerate(texts):
            data = gzip.compress(text.encode(), mtime=0)
            info = tarfile.TarInfo(f"{'long ' * 30}{number}é.txt.gz")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _array_record(texts, path):
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:4")
    for text in texts:
        writer.write(text.encode())
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def originals(texts, tmp_path_factory):
    """Returns files by name; all but the first three formats detect damage."""
    texts = texts[:60]
    half = len(texts) // _JOINED
    made = {
        "a.txt": "\n".join(texts).encode(),
        "a.jsonl": _lines(texts),
        "a.tar": _tar(texts),
        "a.array_record": _array_record(
            texts, tmp_path_factory.mktemp("record") / "a.array_record"
        ),
    }
    for suffix, compress in _COMPRESS.items():
        parts = [_lines(texts[:half]), _lines(texts[half:])]
        made[f"a.jsonl{suffix}"] = b"".join(map(compress, parts))
    made["a.tar.xz"] = lzma.compress(made["a.tar"])
    return made


def _outcomes(originals, texts, folder, cases, seed):
    """Returns how many damaged files are read correctly, with which reports."""
    outcomes = collections.Counter()
    names, expected = sorted(originals), texts[:60]
    for case in range(cases):
        rng = np.random.default_rng([seed, case])
        name = str(rng.choice(names))
        kind, data = damage.damaged(originals[name], rng)
        path = folder / name
        path.write_bytes(data)
        options = corpus.ReadOptions(document_per_line=name == "a.txt")
        records = list(corpus.read_file(str(path), options))
        found = [
            record.text for record in records if isinstance(record, corpus.Document)
        ]
        named = len(found) < len(records)
        assert all(record.origin.startswith(str(path)) for record in records), (
            case,
            name,
            kind,
        )
        if named:
            outcomes["named"] += 1
        elif found == expected:
            outcomes["as it was"] += 1
        else:  # A changed letter, which cannot be detected in these formats.
            assert name in ("a.txt", "a.jsonl", "a.tar"), (case, name, kind)
            outcomes["other text"] += 1
    return outcomes


@pytest.mark.slow
def test_damaged_files_are_named_or_right(originals, texts, tmp_path):
    outcomes = _outcomes(originals, texts, tmp_path, cases=2000, seed=0)
    assert outcomes["named"] > 1000


@pytest.mark.matrix
def test_many_damaged_files(originals, texts, tmp_path, record_property):
    for name, count in _outcomes(originals, texts, tmp_path, 20000, seed=1).items():
        record_property(name, count)


@pytest.mark.parametrize("data", [b"", b"\0" * 70000, b"not an ArrayRecord file"])
def test_an_array_record_that_is_none(tmp_path, data):
    path = tmp_path / "a.array_record"
    path.write_bytes(data)
    (record,) = corpus.read_file(str(path))
    assert isinstance(record, corpus.BrokenRecord)
    assert "not a complete ArrayRecord file" in record.reason


def test_one_bad_record_costs_only_its_group(texts, tmp_path):
    path = tmp_path / "a.array_record"
    data = bytearray(_array_record(texts[:60], path))
    at = int(np.flatnonzero(np.frombuffer(data, np.uint8))[5000])
    data[at] ^= 1
    path.write_bytes(data)
    records = list(corpus.read_file(str(path)))
    assert len(records) == 60
    bad = [k for k, r in enumerate(records) if isinstance(r, corpus.BrokenRecord)]
    assert len(bad) == 4 and bad[0] % 4 == 0  # a group of four
    assert [records[k].origin for k in bad] == [f"{path}:{k}" for k in bad]
    good = [record.text for k, record in enumerate(records) if k not in bad]
    assert good == [text for k, text in enumerate(texts[:60]) if k not in bad]
