"""Streams of gzip, xz and Zstandard files, by file name."""

import gzip
import io
import lzma
from typing import BinaryIO
import zlib

import zstandard

SUFFIXES = (".gz", ".xz", ".zst")
# What a truncated or corrupt stream raises.
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_CHUNK_BYTES = 1 << 18


def strip_suffix(name: str) -> str:
    """The file name without its suffix of compression."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def decompress(name: str, raw: BinaryIO) -> BinaryIO:
    """A stream of the file's contents; `raw` itself if it is not compressed."""
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=raw)
    if name.endswith(".xz"):
        return lzma.LZMAFile(raw)
    if name.endswith(".zst"):
        return io.BufferedReader(_ZstdStream(raw), buffer_size=_CHUNK_BYTES)
    return raw


class _ZstdStream(io.RawIOBase):
    """Reads frame after frame; zstandard's own reader takes a cut frame for whole."""

    def __init__(self, raw: BinaryIO):
        self._raw = raw
        self._decompressor = None  # of the frame being read
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._output:
            self._input = self._input or self._raw.read(_CHUNK_BYTES)
            if not self._input:
                if self._decompressor is not None:
                    raise EOFError("the last Zstandard frame is cut short")
                return 0
            if self._decompressor is None:
                self._decompressor = zstandard.ZstdDecompressor().decompressobj()
            self._output = memoryview(self._decompressor.decompress(self._input))
            self._input = b""
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data
                self._decompressor = None
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size
