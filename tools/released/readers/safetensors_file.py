"""Reads and writes safetensors files, strictly and one tensor at a time.

A file is the length of a header in 8 bytes, little-endian; the header, a JSON object of
`{name: {"dtype", "shape", "data_offsets"}}`, beside an optional `__metadata__`; and the
tensors, row-major and little-endian, without gaps. Format:
github.com/huggingface/safetensors. Unlike its reader, this one refuses names that occur
twice, names the tensor and the file of each error, and lists all of them. The machine
must be little-endian, as all are that JAX runs on.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import json
import math
import os
import pathlib
import struct
from typing import Any

import numpy as np

from clinometer.tools.released import errors
from clinometer.tools.released.readers import json_text
from clinometer.tools.released.readers import tensor

_METADATA = "__metadata__"
_CODES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_MOST_HEADER_BYTES = 100_000_000  # The limit of the format.
_LENGTH = struct.Struct("<Q")


def read(path: pathlib.Path) -> dict[str, tensor.Tensor]:
    """Returns the tensors of a file by name; reads the header only.

    Raises:
        ReleaseError: the file is truncated or not a safetensors file, or tensors
            overlap, occur twice or have a dtype that is not read; lists all of them.
    """
    header, start = _read_header(path)
    header.pop(_METADATA, None)
    size = path.stat().st_size - start
    problems: list[str] = []
    spans: list[tuple[int, int, str]] = []
    tensors = {}
    for name, entry in header.items():
        problem = _problem(entry)
        if problem is None:
            begin, end = entry["data_offsets"]
            spans.append((begin, end, name))
            if end > size:
                problem = (
                    f"its data end at byte {end:,}, but the file has {max(size, 0):,} "
                    "bytes of data; it is truncated"
                )
        if problem is not None:
            problems.append(f"tensor {name!r}: {problem}")
            continue
        shape, dtype = tuple(entry["shape"]), _CODES[entry["dtype"]]
        tensors[name] = _tensor(path, start + begin, shape, dtype)
    problems += _span_problems(spans, size)
    if problems:
        raise errors.of_problems(f"{path}: not a sound safetensors file", problems)
    return tensors


def _read_header(path: pathlib.Path) -> tuple[dict[str, Any], int]:
    """Returns the header and the offset of the first tensor."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(_LENGTH.size)
        if len(first) < _LENGTH.size:
            raise errors.ReleaseError(
                f"{path}: has {size} bytes; a safetensors file has 8 and a header"
            )
        (length,) = _LENGTH.unpack(first)
        if length > min(size - _LENGTH.size, _MOST_HEADER_BYTES):
            raise errors.ReleaseError(
                f"{path}: the header would have {length:,} bytes, but the file has "
                f"{size:,}; it is truncated or not a safetensors file"
            )
        text = file.read(length)
    try:
        header = json_text.parse_object(text)
    except ValueError as error:
        raise errors.ReleaseError(f"{path}: the header: {error}") from error
    return header, _LENGTH.size + length


def _problem(entry: Any) -> str | None:
    """Returns what is wrong with a tensor's entry in the header."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(
        entry
    ):
        return "its entry lacks one of dtype, shape and data_offsets"
    if entry["dtype"] not in _CODES:
        return f"dtype {entry['dtype']!r}; accepted: {', '.join(_CODES)}"
    for field in ("shape", "data_offsets"):
        numbers = entry[field]
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number < 2**62 for number in numbers
        ):
            return f"{field} is {numbers!r}; accepted: a list of whole numbers"
    if len(entry["data_offsets"]) != 2:
        return f"data_offsets is {entry['data_offsets']}; accepted: two numbers"
    begin, end = entry["data_offsets"]
    needed = math.prod(entry["shape"]) * tensor.DTYPES[_CODES[entry["dtype"]]].itemsize
    if end - begin != needed:
        return (
            f"data_offsets {begin} to {end} are {end - begin:,} bytes, but "
            f"{entry['dtype']} {entry['shape']} needs {needed:,}"
        )
    return None


def _span_problems(spans: Iterable[tuple[int, int, str]], size: int) -> list[str]:
    """Returns where tensors overlap or leave gaps."""
    problems, reached, before = [], 0, None
    for begin, end, name in sorted(spans):
        if begin < reached:
            problems.append(f"tensor {name!r} overlaps {before!r}")
        elif begin > reached:
            problems.append(f"there are {begin - reached:,} bytes before {name!r}")
        reached, before = max(reached, end), name
    if reached < size:
        problems.append(f"there are {size - reached:,} bytes after the last tensor")
    return problems


def _tensor(
    path: pathlib.Path, offset: int, shape: tuple[int, ...], dtype: str
) -> tensor.Tensor:
    count, kind = math.prod(shape), tensor.DTYPES[dtype]

    def values() -> np.ndarray:
        read = np.fromfile(path, kind, count, offset=offset)
        if read.size != count:
            raise errors.ReleaseError(f"{path}: became shorter while it was read")
        return read.reshape(shape)

    return tensor.Tensor(shape, dtype, values)


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, tensor.Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Writes a file, one tensor after the other.

    Args:
        path: path of the new file.
        tensors: the tensors by name, written in this order, all of float32.
        metadata: texts for the header's `__metadata__`.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    offset = 0
    for name, each in tensors.items():
        end = offset + 4 * math.prod(each.shape)
        header[name] = {
            "dtype": "F32",
            "shape": list(each.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # So that the data are aligned.
    with open(path, "wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for each in tensors.values():
            np.ascontiguousarray(each.read(), "<f4").tofile(file)
