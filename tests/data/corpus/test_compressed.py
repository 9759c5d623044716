"""Concatenated, padded, truncated and damaged files, compared with other readers."""

import gzip
import io
import lzma
import shutil
import struct
import subprocess
import zlib

import pytest
import zstandard

from clinometer.data.corpus import compressed

_ONE, _TWO = b"one " * 1000, b"two"
_SKIPPABLE = struct.pack("<II", 0x184D2A50, 5) + b"hello"
_COMPRESS = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def _other_reader(suffix, data):
    """Returns what `gzip` or a command-line tool reads; None for a broken file."""
    if suffix == ".gz":  # `gzip -d` only warns of what follows
        try:
            return gzip.decompress(data) if data else None
        except (EOFError, OSError, zlib.error):
            return None
    tool = {".xz": "xz", ".zst": "zstd"}[suffix]
    if shutil.which(tool) is None:
        pytest.skip(f"needs the program {tool}")
    done = subprocess.run([tool, "-dc"], input=data, capture_output=True, check=False)
    # The tools take an empty input for an empty file.
    return None if done.returncode or not data else done.stdout


def _read(suffix, data):
    """Returns the contents, or None for a broken file."""
    try:
        return compressed.decompress("file" + suffix, io.BytesIO(data)).read()
    except compressed.BROKEN:
        return None


def _variants(suffix):
    one, two = _COMPRESS[suffix](_ONE), _COMPRESS[suffix](_TWO)
    yield "joined", one + two
    yield "empty part", _COMPRESS[suffix](b"") + two
    yield "no part", b""
    yield "cut", one[:-3]
    yield "second cut", one + two[:-3]
    yield "second cut in its header", one + two[:3]
    yield "corrupt header", one + b"\xff" + two[1:]
    yield "corrupt body", one[:-20] + bytes(4) + one[-16:] + two
    yield "not compressed", b"plain text, and enough of it to be a header\n"
    for zeros in (1, 4, 511, 512):
        yield f"{zeros} zeros between", one + bytes(zeros) + two
        yield f"{zeros} zeros behind", one + two + bytes(zeros)
    yield "zeros before", bytes(4) + one
    if suffix == ".zst":
        yield "skippable", _SKIPPABLE + one + _SKIPPABLE + two + _SKIPPABLE
        yield "skippable cut", one + _SKIPPABLE[:-1]


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_files_are_read_as_others_read_them(suffix):
    for name, data in _variants(suffix):
        assert _read(suffix, data) == _other_reader(suffix, data), name


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_what_follows_the_last_part_is_an_error(suffix):
    whole = _COMPRESS[suffix](_ONE)
    assert _read(suffix, whole) == _ONE
    assert _read(suffix.upper(), whole) == _ONE
    for garbage in (b"x", b"garbage behind it, longer than a header is", b"\0\0\0\0x"):
        assert _read(suffix, whole + garbage) is None


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_a_broken_stream_stays_broken(suffix):
    data = _COMPRESS[suffix](_TWO) + b"\xff" * 40 + _COMPRESS[suffix](_ONE)
    stream = compressed.decompress("file" + suffix, io.BytesIO(data))
    for _ in range(3):
        with pytest.raises(compressed.BROKEN):
            stream.read()


def test_suffixes_in_both_cases():
    assert compressed.strip_suffix("a.txt.GZ") == "a.txt"
    assert compressed.strip_suffix("a.txt.xz") == "a.txt"
    assert compressed.strip_suffix("a.TXT") == "a.TXT"


def test_frames_of_long_windows_are_read():
    """Reads the output of `zstd --long=31`; the library's default limit is 128 MiB."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = stream.compress(_ONE) + stream.flush()
    with pytest.raises(zstandard.ZstdError, match="too much memory"):
        zstandard.ZstdDecompressor().decompressobj().decompress(data)
    assert _read(".zst", data) == _ONE
