"""Documents of every file type, and the reports of broken records."""

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
from clinometer.data.corpus import files as corpus_files

_COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
_LINES = b'{"text": "one"}\n\n{"text": "tw\\u00f6", "url": "u"}\n'


def _texts(path, **options):
    records = corpus.read_file(str(path), corpus.ReadOptions(**options))
    return [r.text if isinstance(r, corpus.Document) else r for r in records]


@pytest.mark.parametrize("suffix", _COMPRESS)
@pytest.mark.parametrize("kind", [".jsonl", ".json"])
def test_json_lines(tmp_path, kind, suffix):
    path = tmp_path / f"a{kind}{suffix}"
    path.write_bytes(_COMPRESS[suffix](_LINES))
    assert _texts(path) == ["one", "twö"]


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_text_file_is_one_document_without_its_bom(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(_COMPRESS[suffix](b"\xef\xbb\xbffirst\nsecond\n"))
    assert _texts(path) == ["first\nsecond\n"]
    assert _texts(path, document_per_line=True) == ["first", "second"]


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_tar_is_read_in_place(tmp_path, suffix):
    buffer = io.BytesIO()
    members = {
        "d/b.txt": b"\xef\xbb\xbfbee",
        "d/a.jsonl.gz": gzip.compress(_LINES),
        "notes.pdf": b"%PDF",
    }
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = tmp_path / f"c.tar{suffix}"
    path.write_bytes(_COMPRESS[suffix](buffer.getvalue()))
    *texts, left_out = _texts(path)
    assert texts == ["bee", "one", "twö"]
    assert left_out == corpus.LeftOut(f"{path}!notes.pdf", corpus.OTHER_KIND, 1)
    first = next(corpus.read_file(str(path)))
    assert first.origin == f"{path}!d/b.txt"


def test_members_of_a_tar_are_read_or_named(tmp_path):
    path = tmp_path / "c.tar"
    names = ("../a.txt", "./b.TXT", "d/.c.txt", "__MACOSX/d.txt", "e.jsonl", "f.tar")
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            data = b"" if name == "e.jsonl" else name.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("link.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(info)
    assert _texts(path) == [
        "../a.txt",
        "./b.TXT",
        corpus.LeftOut(f"{path}!e.jsonl", corpus.NO_DOCUMENT),
        corpus.LeftOut(f"{path}!d/.c.txt", corpus.HIDDEN, 2),
        corpus.LeftOut(f"{path}!f.tar", corpus.OTHER_KIND),
        corpus.LeftOut(f"{path}!link.txt", corpus.LINK_IN_ARCHIVE),
    ]


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), 5])
def test_what_cannot_be_read_is_broken(tmp_path, monkeypatch, error):
    path = tmp_path / "a.jsonl"
    path.write_bytes(_LINES)
    if error == 5:  # the disk fails after the file was opened
        reason, error = "Input/output error", OSError(5, "Input/output error")

        class Failing(io.BytesIO):
            def readinto(self, buffer):
                raise error

            def __next__(self):
                raise error

        monkeypatch.setattr("builtins.open", lambda *_: Failing())
    else:

        def refuse(*_):
            raise error

        reason = error.strerror
        monkeypatch.setattr("builtins.open", refuse)  # permissions do not bind root
    (record,) = corpus.read_file(str(path))
    assert record == corpus.BrokenRecord(str(path), f"cannot be read: {reason}")


def test_long_documents_are_cut_at_line_ends_or_blanks(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0123 567\n9 bcdefgh\n" + "x" * 30)
    assert _texts(path, document_characters=5) == [
        "0123 567\n",
        "9 bcdefgh\n",
        "x" * 30,
    ]
    assert _texts(path, document_characters=12)[0] == "0123 567\n9 bcdefgh\n"
    path.write_text("one two three")
    assert _texts(path, document_characters=4) == ["one two ", "three"]


def test_array_record(tmp_path):
    path = tmp_path / "a.array_record"
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in (b"plain text", b'{"text": "json"}', b'{"broken', b"\xff"):
        writer.write(record)
    writer.close()
    texts = _texts(path)
    assert texts[:2] == ["plain text", "json"]
    assert [record.origin for record in texts[2:]] == [f"{path}:2", f"{path}:3"]


def test_text_field_option(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "x"}\n{"text": "y"}\n')
    texts = _texts(path, text_field="body")
    assert texts[0] == "x"
    assert texts[1].reason == "not a JSON object with the field 'body'"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not valid JSON"),
        (b'["text"]', "not a JSON object"),
        (b'{"text": 3}', "is int, not a string"),
        (b'{"text": "\\ud800"}', "not valid Unicode"),
        (b'{"text": "\xff"}', "not valid JSON"),
        (b'{"text": ' + b"[" * 100000, "nested too deeply"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_broken_line_is_reported_with_its_number(tmp_path, line, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n')
    one, broken, three = _texts(path)
    assert (one, three) == ("one", "three")
    assert broken.origin == f"{path}:2"
    assert reason in broken.reason


def test_text_that_is_not_utf8_is_reported_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nbad \xff\n")
    (broken,) = _texts(path)
    assert "not valid UTF-8 in line 2" in broken.reason


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_cut_off_file_is_reported_after_its_whole_lines(tmp_path, suffix):
    random = np.random.default_rng(0)
    numbers = [str(number) for number in random.integers(0, 1 << 60, 40000)]
    lines = "".join(json.dumps({"text": number}) + "\n" for number in numbers)
    data = _COMPRESS[suffix](lines.encode())
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(data[: len(data) // 2])
    texts = _texts(path)
    assert "truncated or corrupt" in texts[-1].reason
    assert texts[:100] == numbers[:100]


def test_cut_off_tar_is_reported(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 100000
        archive.addfile(info, io.BytesIO(b"x" * 100000))
    path.write_bytes(path.read_bytes()[:5000])
    assert isinstance(_texts(path)[-1], corpus.BrokenRecord)


def test_several_zstandard_frames(tmp_path):
    compress = _COMPRESS[".zst"]
    path = tmp_path / "a.txt.zst"
    path.write_bytes(compress(b"one ") + compress(b"two"))
    assert _texts(path) == ["one two"]


def test_real_samples(shared_dir):
    samples = shared_dir / "data/hf_samples"
    (c4,) = corpus_files.find([str(samples / "c4")]).files
    assert len(list(corpus.read_file(c4))) == 3
    pages = corpus_files.find([str(samples / "openwebtext")]).files
    documents = [d for page in pages for d in corpus.read_file(page)]
    assert len(documents) == 4
    assert all(isinstance(d, corpus.Document) for d in documents)
