"""Documents from files: text, JSON lines, tar archives and ArrayRecord.

A source is a folder (searched recursively), a glob or a file. Files are read in
sorted order, as streams; a broken record is yielded as such, never skipped.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import glob
import json
import os
import tarfile
from typing import BinaryIO

from array_record.python import array_record_module

from clinometer.data import compressed
from clinometer.data.errors import DataError

ACCEPTED = (
    ".txt, .jsonl or .json (JSON lines), .tar (all these also with .gz, .xz or .zst) "
    "and .array_record"
)
_BOM = b"\xef\xbb\xbf"
_ARRAY_RECORD_SUFFIXES = (".array_record", ".arrayrecord")
_ARRAY_RECORD_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How files become documents."""

    text_field: str = "text"  # the field of a JSON record that holds the text
    document_per_line: bool = False  # .txt: each line is a document, not each file


@dataclasses.dataclass(frozen=True)
class Document:
    """One document: its text and where it came from (`file:line`)."""

    text: str
    origin: str


@dataclasses.dataclass(frozen=True)
class BrokenRecord:
    """A record that could not be read: where it is and what is wrong with it."""

    origin: str
    reason: str


def find_files(sources: Sequence[str]) -> list[str]:
    """Expands folders and globs into a sorted list of files, each once.

    Raises:
      DataError: a source is missing, holds no accepted file, or is a file of
        another kind.
    """
    if not sources:
        raise DataError(f"No data source given; accepted are {ACCEPTED}.")
    found = set()
    for source in map(str, sources):
        if os.path.isdir(source):
            files = [
                os.path.join(folder, name)
                for folder, _, names in os.walk(source)
                for name in names
                if _kind(name)
            ]
        elif os.path.isfile(source):
            if not _kind(source):
                raise DataError(
                    f"Data file {source!r} is of an unknown kind; "
                    f"accepted are {ACCEPTED}."
                )
            files = [source]
        elif glob.has_magic(source):
            matches = glob.glob(source, recursive=True)
            files = [name for name in matches if os.path.isfile(name) and _kind(name)]
        else:
            raise DataError(
                f"Data source {source!r} does not exist; give a folder, a glob or a "
                f"file of these kinds: {ACCEPTED}."
            )
        if not files:
            raise DataError(
                f"Data source {source!r} holds no accepted file; "
                f"accepted are {ACCEPTED}."
            )
        found.update(files)
    return sorted(found)


def read_file(
    path: str, options: ReadOptions = ReadOptions(), raw: BinaryIO | None = None
) -> Iterator[Document | BrokenRecord]:
    """Yields a file's documents in order, and its broken records in their places.

    Args:
      path: a file of an accepted kind.
      options: how to read it.
      raw: the open file; its `tell()` shows progress. None => opened here.
    """
    if _kind(path) == "array_record":
        yield from _read_array_record(path, options)
    elif raw is None:
        with open(path, "rb") as opened:
            yield from _read_stream(path, path, opened, options)
    else:
        yield from _read_stream(path, path, raw, options)


def _kind(name: str) -> str | None:
    """txt, jsonl, tar or array_record; None for any other file name."""
    if name.endswith(_ARRAY_RECORD_SUFFIXES):
        return "array_record"
    kind = os.path.splitext(compressed.strip_suffix(name))[1].removeprefix(".")
    if kind == "json":  # C4's own name for JSON lines
        return "jsonl"
    return kind if kind in ("txt", "jsonl", "tar") else None


def _read_stream(
    name: str, origin: str, raw: BinaryIO, options: ReadOptions
) -> Iterator[Document | BrokenRecord]:
    try:
        stream = compressed.decompress(name, raw)
        kind = _kind(name)
        if kind == "tar":
            yield from _read_tar(origin, stream, options)
        elif kind == "jsonl":
            yield from _read_jsonl(origin, stream, options)
        elif options.document_per_line:
            yield from _read_lines(origin, stream)
        else:
            yield _text_document(origin, stream.read())
    except compressed.BROKEN as error:
        yield BrokenRecord(origin, f"truncated or corrupt: {error}")


def _read_tar(
    origin: str, stream: BinaryIO, options: ReadOptions
) -> Iterator[Document | BrokenRecord]:
    accepted = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isfile() or _kind(member.name) not in ("txt", "jsonl"):
                    continue
                accepted += 1
                yield from _read_stream(
                    member.name,
                    f"{origin}!{member.name}",
                    archive.extractfile(member),
                    options,
                )
    except tarfile.TarError as error:
        yield BrokenRecord(origin, f"truncated or corrupt archive: {error}")
    else:
        if not accepted:
            yield BrokenRecord(origin, "archive holds no .txt or .jsonl file")


def _read_jsonl(
    origin: str, stream: BinaryIO, options: ReadOptions
) -> Iterator[Document | BrokenRecord]:
    for number, line in enumerate(stream, start=1):
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield _json_document(f"{origin}:{number}", line, options)


def _read_lines(origin: str, stream: BinaryIO) -> Iterator[Document | BrokenRecord]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield _text_document(f"{origin}:{number}", line.rstrip(b"\r\n"))


def _read_array_record(
    path: str, options: ReadOptions
) -> Iterator[Document | BrokenRecord]:
    try:
        reader = array_record_module.ArrayRecordReader(path)
    except (RuntimeError, ValueError) as error:
        yield BrokenRecord(path, f"not a whole ArrayRecord file: {error}")
        return
    try:
        total = reader.num_records()
        for start in range(0, total, _ARRAY_RECORD_BATCH):
            stop = min(start + _ARRAY_RECORD_BATCH, total)
            try:
                records = reader.read(start, stop)
            except (RuntimeError, IndexError, ValueError) as error:
                reason = f"records {start} to {stop - 1} are corrupt: {error}"
                yield BrokenRecord(f"{path}:{start}", reason)
                continue
            for number, record in enumerate(records, start=start):
                # A record that starts with a brace is JSON, any other is text.
                if record.lstrip().startswith(b"{"):
                    yield _json_document(f"{path}:{number}", record, options)
                else:
                    yield _text_document(f"{path}:{number}", record)
    finally:
        reader.close()


def _json_document(
    origin: str, line: bytes, options: ReadOptions
) -> Document | BrokenRecord:
    try:
        record = json.loads(line)
    except ValueError as error:
        return BrokenRecord(origin, f"not valid JSON: {error}")
    field = options.text_field
    if not isinstance(record, dict) or field not in record:
        return BrokenRecord(origin, f"not a JSON object with a field {field!r}")
    text = record[field]
    if not isinstance(text, str):
        kind = type(text).__name__
        return BrokenRecord(origin, f"field {field!r} is not a string but {kind}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return BrokenRecord(origin, f"field {field!r} is not valid Unicode: {error}")
    return Document(text, origin)


def _text_document(origin: str, data: bytes) -> Document | BrokenRecord:
    data = data.removeprefix(_BOM)
    try:
        return Document(data.decode("utf-8"), origin)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return BrokenRecord(origin, f"not valid UTF-8 in line {line}: {error}")
