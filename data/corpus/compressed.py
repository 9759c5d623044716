"""Decompresses gzip, xz and Zstandard files as streams.

A file may consist of several gzip members, xz streams or Zstandard frames. Anything
else between or after them is an error, except padding that the format allows.
"""

from collections.abc import Callable
import io
import lzma
import os
from typing import Any
from typing import BinaryIO
from typing import NamedTuple
import zlib

import zstandard

# Exceptions that reading a truncated or corrupt stream raises.
BROKEN = (EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_CHUNK_BYTES = 1 << 18


class _Format(NamedTuple):
    """A compression format.

    Attributes:
        part: what the format calls a part of a file.
        decompressor: returns a new decompressor, for one part.
        padding: zeros after a part must be a multiple of this number; None => the
            format allows no padding.
    """

    part: str
    decompressor: Callable[[], Any]
    padding: int | None


_FORMATS = {
    ".gz": _Format("gzip member", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), 1),
    ".xz": _Format("xz stream", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), 4),
    ".zst": _Format(
        "Zstandard frame",
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
        None,
    ),
}
SUFFIXES = tuple(_FORMATS)


def strip_suffix(name: str) -> str:
    """Returns a file name without its compression suffix, whatever the case."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _FORMATS else name


def decompress(name: str, raw: BinaryIO) -> BinaryIO:
    """Returns a stream of a file's decompressed contents.

    Args:
        name: the file's name, whose suffix tells the format.
        raw: the file.

    Returns:
        The stream, `raw` itself if the name has no compression suffix. Reading it
        raises one of `BROKEN` where the file is truncated or corrupt.
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _FORMATS:
        return raw
    return io.BufferedReader(_Parts(raw, _FORMATS[suffix]), buffer_size=_CHUNK_BYTES)


class _Parts(io.RawIOBase):
    """A stream of the decompressed parts of a file.

    The libraries' own readers take a truncated frame, or a corrupt header after a
    complete stream, for the end of the file.
    """

    def __init__(self, raw: BinaryIO, kind: _Format):
        self._raw, self._format = raw, kind
        self._decompressor = None  # for the part being read
        self._begun = False  # whether any part has begun
        self._zeros = 0  # padding bytes since the last part
        self._input = b""
        self._output = memoryview(b"")
        self._error = None  # raised again by each later read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            if self._error is not None:
                raise self._error
            while not self._output:
                self._input = self._input or self._raw.read(_CHUNK_BYTES)
                if not self._input:
                    self._check_end()
                    return 0
                self._decompress()
        except BROKEN as error:
            self._error = error
            raise
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _decompress(self) -> None:
        """Consumes the buffered input, as padding or as data of a part."""
        if self._decompressor is None:
            if self._begun and self._format.padding:
                rest = self._input.lstrip(b"\0")
                self._zeros += len(self._input) - len(rest)
                self._input = rest
                if not rest:
                    return
                self._check_padding()
            self._begun, self._zeros = True, 0
            self._decompressor = self._format.decompressor()
        self._output = memoryview(self._decompressor.decompress(self._input))
        self._input = b""
        if self._decompressor.eof:
            self._input = self._decompressor.unused_data
            self._decompressor = None

    def _check_end(self) -> None:
        if not self._begun:
            raise EOFError(f"the file is empty: it has no {self._format.part}")
        if self._decompressor is not None:
            raise EOFError(f"the last {self._format.part} is truncated")
        self._check_padding()

    def _check_padding(self) -> None:
        if self._zeros and self._zeros % self._format.padding:
            raise lzma.LZMAError(
                f"a stream is followed by {self._zeros} zeros, not a multiple of 4"
            )
