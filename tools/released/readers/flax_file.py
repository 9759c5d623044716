"""Reads the `flax_model.msgpack` of a released model, without Flax.

The file is one msgpack map of maps, whose leaves are arrays as Flax serialises them: an
extension of type 1 that holds (shape, name of the dtype, bytes). Flax divides an array
of more than 1 GiB into chunks, a map with the key `__msgpack_chunked_array__`. Format:
flax/serialization.py at github.com/google/flax.

A first pass notes where each array is; its values are read when they are needed. A
length that a file claims is compared with the bytes that it has before anything of that
length is allocated, and depth and number of entries have limits, so that a small file
cannot take much memory or time.
"""

from collections.abc import Callable
from collections.abc import Iterator
import math
import mmap
import pathlib
from typing import Any

import msgpack
import numpy as np

from clinometer.tools.released import errors
from clinometer.tools.released.readers import tensor

_ARRAY = 1  # Type of the extension.
_CHUNKED = "__msgpack_chunked_array__"
_MOST_DEPTH = 32
_MOST_ENTRIES = 1_000_000
_MOST_KEY_BYTES = 1_000
# First bytes of maps and extensions (github.com/msgpack/msgpack/blob/master/spec.md).
_MAPS = {*range(0x80, 0x90), 0xDE, 0xDF}
# First byte of an extension -> bytes of its length, which it has before its type.
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_HEAD_BYTES = 256  # Enough for the shape and the dtype of an array.


def read(path: pathlib.Path) -> dict[str, tensor.Tensor]:
    """Returns the tensors of a file by their paths, such as `shared/embedding`.

    Raises:
        ReleaseError: the file is not a whole msgpack map of arrays, is nested too
            deeply, or has an array of a dtype that is not read.
    """
    with open(path, "rb") as file:
        try:
            contents = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise errors.ReleaseError(f"{path}: is empty") from error
    scan = _Scan(path, contents)
    tensors = dict(scan.tensors())
    if scan.position != len(contents):
        raise scan.error(f"{len(contents) - scan.position:,} bytes after its end")
    return tensors


class _Scan:
    """A walk over the map of a file; `position` is that of the next byte."""

    def __init__(self, path: pathlib.Path, contents: mmap.mmap):
        self._path, self._contents = path, contents
        self._entries = 0
        self.position = 0

    def error(self, problem: str, name: str = "") -> errors.ReleaseError:
        """Returns the error for a problem at the current position."""
        place = f", {name!r}" if name else ""
        return errors.ReleaseError(
            f"{self._path}: at byte {self.position:,}{place}: {problem}"
        )

    def tensors(
        self, name: str = "", depth: int = 0
    ) -> Iterator[tuple[str, tensor.Tensor]]:
        """Yields the tensors below the value at the current position."""
        first = self._byte(self.position, name)
        if first not in _MAPS:
            yield name, self._array(first, name)
            return
        if depth == _MOST_DEPTH:
            raise self.error(f"maps are nested more than {_MOST_DEPTH} deep", name)
        keys = set()
        for _ in range(self._map_length(name)):
            key = self._key(name)
            if key in keys:
                raise self.error(f"the key {key!r} occurs twice", name)
            keys.add(key)
            if key == _CHUNKED:
                yield name, self._chunked(keys, name)
                return
            yield from self.tensors(f"{name}/{key}" if name else key, depth + 1)

    def _byte(self, position: int, name: str) -> int:
        if position >= len(self._contents):
            raise self.error("the file ends; it is truncated", name)
        return self._contents[position]

    def _unpacked(self, most_bytes: int, name: str, unpack: Callable[..., Any]) -> Any:
        """Unpacks a small object or a map's length with the library."""
        start = self.position
        unpacker = msgpack.Unpacker(
            max_buffer_size=most_bytes, strict_map_key=True, max_ext_len=0
        )
        unpacker.feed(self._contents[start : start + most_bytes])
        try:
            value = unpack(unpacker)
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise self.error(
                f"not the msgpack of arrays ({type(error).__name__})", name
            ) from error
        self.position += unpacker.tell()
        return value

    def _map_length(self, name: str) -> int:
        length = self._unpacked(5, name, msgpack.Unpacker.read_map_header)
        self._entries += length
        # A key and a value have a byte each at least.
        if 2 * length > len(self._contents) - self.position:
            raise self.error(f"a map of {length:,} entries does not fit", name)
        if self._entries > _MOST_ENTRIES:
            raise self.error(f"more than {_MOST_ENTRIES:,} entries", name)
        return length

    def _key(self, name: str) -> str:
        key = self._unpacked(_MOST_KEY_BYTES, name, msgpack.Unpacker.unpack)
        if not isinstance(key, str):
            raise self.error(f"a key is {type(key).__name__}; accepted: text", name)
        return key

    def _array(self, first: int, name: str) -> tensor.Tensor:
        """Notes the array at the current position and passes it."""
        if first in _EXTENSIONS:
            width = _EXTENSIONS[first]
            self._byte(self.position + width, name)
            begin = self.position + 1
            length = int.from_bytes(self._contents[begin : begin + width], "big")
            begin += width
        elif first in _FIXED_EXTENSIONS:
            length, begin = _FIXED_EXTENSIONS[first], self.position + 1
        else:
            raise self.error(f"byte {first:#x}; accepted: maps and arrays", name)
        kind = self._byte(begin, name)
        if kind != _ARRAY:
            raise self.error(f"an extension of type {kind}; accepted: arrays", name)
        begin += 1
        if begin + length > len(self._contents):
            raise self.error(
                f"an array of {length:,} bytes, but the file has "
                f"{len(self._contents) - begin:,} more; it is truncated",
                name,
            )
        found = self._described(begin, length, name)
        self.position = begin + length
        return found

    def _described(self, begin: int, length: int, name: str) -> tensor.Tensor:
        """Returns the array whose (shape, dtype, bytes) are at `begin`."""
        unpacker = msgpack.Unpacker(max_buffer_size=_HEAD_BYTES, max_array_len=64)
        unpacker.feed(self._contents[begin : begin + min(length, _HEAD_BYTES)])
        try:
            parts = unpacker.read_array_header()
            shape, dtype = unpacker.unpack(), unpacker.unpack()
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise self.error("an array without shape and dtype", name) from error
        dtype = dtype.decode("ascii", "replace") if isinstance(dtype, bytes) else dtype
        if (
            parts != 3
            or not isinstance(shape, list)
            or not all(type(size) is int and 0 <= size < 2**40 for size in shape)
        ):
            raise self.error(f"an array of shape {shape!r}; accepted: numbers", name)
        if dtype not in tensor.DTYPES:
            accepted = ", ".join(tensor.DTYPES)
            raise self.error(f"dtype {dtype!r}; accepted: {accepted}", name)
        kind, count = tensor.DTYPES[dtype], math.prod(shape)
        # The bytes come last: bin8, bin16 or bin32 with their length.
        data = begin + length - count * kind.itemsize
        head = begin + unpacker.tell()
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(self._byte(head, name))
        if width is None or head + 1 + width != data:
            raise self.error(
                f"the bytes do not fit the shape {shape} and dtype {dtype}", name
            )
        contents = self._contents

        def values() -> np.ndarray:
            return np.frombuffer(contents, kind, count, data).reshape(shape)

        return tensor.Tensor(tuple(shape), dtype, values)

    def _chunked(self, keys: set[str], name: str) -> tensor.Tensor:
        """Reads the rest of a chunked array, whose first key has been read."""
        if keys != {_CHUNKED}:
            raise self.error(f"{_CHUNKED} is not the first key", name)
        self._unpacked(1, name, msgpack.Unpacker.unpack)  # True.
        parts = {}
        for wanted in ("shape", "chunks"):
            if self._key(name) != wanted:
                raise self.error(f"a chunked array without {wanted}", name)
            parts[wanted] = []
            for index in range(self._map_length(name)):
                if self._key(name) != str(index):
                    raise self.error(f"{wanted} of a chunked array in disorder", name)
                if wanted == "shape":
                    size = self._unpacked(9, name, msgpack.Unpacker.unpack)
                    parts[wanted].append(size)
                else:
                    first = self._byte(self.position, name)
                    parts[wanted].append(self._array(first, name))
        shape, chunks = tuple(parts["shape"]), parts["chunks"]
        if not all(type(size) is int and 0 <= size < 2**40 for size in shape):
            raise self.error(f"a chunked array of shape {shape}", name)
        dtypes = {chunk.dtype for chunk in chunks}
        count = sum(math.prod(chunk.shape) for chunk in chunks)
        if len(dtypes) != 1 or count != math.prod(shape):
            raise self.error(f"chunks that do not fit the shape {shape}", name)

        def values() -> np.ndarray:
            parts = [chunk.read().reshape(-1) for chunk in chunks]
            return np.concatenate(parts).reshape(shape)

        return tensor.Tensor(shape, dtypes.pop(), values)
