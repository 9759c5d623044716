"""Intact, concatenated, truncated and damaged tar archives."""

import io
import tarfile

import pytest

from clinometer.data.corpus import tar_archives

_TEXTS = {f"{name}.txt": name * 700 for name in "abc"}
_BLOCK = tarfile.BLOCKSIZE
_MEMBER = 3 * _BLOCK  # a header and two blocks of contents


def _archive(texts=_TEXTS, end=2 * _BLOCK):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()[: _MEMBER * len(texts) + end]


def _read(data):
    """Returns the texts by name, and whether the archive was intact."""
    found = {}
    try:
        for member, contents in tar_archives.members(io.BytesIO(data)):
            found[member.name] = contents.read().decode() if contents else None
    except tarfile.TarError:
        return found, False
    return found, True


def test_whole_and_joined_archives():
    assert _read(_archive()) == (_TEXTS, True)
    other = {"d.txt": "d" * 700}
    assert _read(_archive() + _archive(other)) == (_TEXTS | other, True)
    assert _read(_archive(end=20 * _BLOCK)) == (_TEXTS, True)


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_corrupt_header_is_not_the_end(member):
    data = bytearray(_archive())
    data[member * _MEMBER + 5] ^= 1
    found, whole = _read(bytes(data))
    assert list(found) == list(_TEXTS)[:member]
    assert not whole


@pytest.mark.parametrize("blocks", range(9))
def test_an_archive_that_is_cut_at_any_block_is_not_whole(blocks):
    found, whole = _read(_archive()[: blocks * _BLOCK])
    assert not whole
    assert len(found) == blocks // 3
    found, whole = _read(_archive()[: blocks * _BLOCK + 7])
    assert not whole


def test_garbage_behind_the_end_is_an_error():
    found, whole = _read(_archive() + b"garbage" * 100)
    assert found == _TEXTS
    assert not whole


def test_links_have_no_contents():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.txt")
            info.type, info.linkname = kind, "elsewhere.txt"
            archive.addfile(info)
    found, whole = _read(buffer.getvalue())
    assert whole
    assert found == {"2.txt": None, "1.txt": None, "6.txt": None}
