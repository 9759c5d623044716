"""Documents from files: text, JSON lines, tar archives and ArrayRecord.

Files are read as streams. Broken records and skipped files are yielded along with the
documents, so that the caller can report them.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import json
import os
import re
import tarfile
from typing import BinaryIO

from array_record.python import array_record_module

from clinometer.data.corpus import compressed
from clinometer.data.corpus import tar_archives

ACCEPTED = (
    ".txt, .jsonl or .json (JSON lines), .tar (all these also with .gz, .xz or .zst) "
    "and .array_record"
)
_BOM = b"\xef\xbb\xbf"
_LINE_END, _BLANK = re.compile(r"\n"), re.compile(r"\s")
_ARRAY_RECORD_SUFFIXES = (".array_record", ".arrayrecord")
_ARRAY_RECORD_BATCH = 1024
# Raised by Riegeli for damaged files and for file names or indices that it rejects.
_ARRAY_RECORD_ERRORS = (RuntimeError, IndexError, ValueError)


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Options for splitting files into documents.

    Attributes:
        text_field: the field of a JSON record that holds the text.
        document_per_line: whether each line of a .txt file is a document; by default
            the whole file is one.
        document_characters: splits longer documents after this many characters, at the
            next line end or blank; None => documents are never split.
    """

    text_field: str = "text"
    document_per_line: bool = False
    document_characters: int | None = None


@dataclasses.dataclass(frozen=True)
class Document:
    """A document.

    Attributes:
        text: its text.
        origin: the file that it comes from, with a line or record number if the file
            holds several documents (`file:line`).
    """

    text: str
    origin: str


@dataclasses.dataclass(frozen=True)
class BrokenRecord:
    """A record that could not be read.

    Attributes:
        origin: the file, with a line or record number where known (`file:line`).
        reason: what is wrong with it.
    """

    origin: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Files that are skipped for the same reason.

    Attributes:
        origin: the first of the files.
        reason: why they are skipped.
        count: the number of files.
    """

    origin: str
    reason: str
    count: int = 1


Record = Document | BrokenRecord | LeftOut

OTHER_KIND = "unsupported file type"
HIDDEN = "hidden"
LINK_IN_ARCHIVE = "link or device in an archive"
NO_DOCUMENT = "no documents in the file"


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder name is hidden (`.name` or `__MACOSX`)."""
    return name == "__MACOSX" or (name.startswith(".") and name not in (".", ".."))


def kind(name: str) -> str | None:
    """Returns the type of a file by its name, ignoring case and compression suffixes.

    Args:
        name: a file name or path.

    Returns:
        "txt", "jsonl", "tar" or "array_record"; None for any other type.
    """
    name = name.lower()
    if name.endswith(_ARRAY_RECORD_SUFFIXES):
        return "array_record"
    suffix = os.path.splitext(compressed.strip_suffix(name))[1].removeprefix(".")
    if suffix == "json":  # C4's own name for JSON lines
        return "jsonl"
    return suffix if suffix in ("txt", "jsonl", "tar") else None


def read_file(
    path: str,
    options: ReadOptions = ReadOptions(),
    on_open: Callable[[BinaryIO], None] = lambda raw: None,
) -> Iterator[Record]:
    """Yields the documents and broken records of a file in order.

    Args:
        path: a file of a supported type.
        options: how to split it into documents.
        on_open: called with the open file, whose `tell()` shows the progress. Not
            called for ArrayRecord files.

    Yields:
        A `Document` or `BrokenRecord` for each record, and a `LeftOut` for what was
        skipped.
    """
    for record in _or_named(path, _read(path, options, on_open)):
        if options.document_characters and isinstance(record, Document):
            yield from _cut(record, options.document_characters)
        else:
            yield record


def _or_named(origin: str, records: Iterator[Record]) -> Iterator[Record]:
    """Yields the records of a file, or a `LeftOut` for the file if it has none."""
    empty = True
    for record in records:
        empty = False
        yield record
    if empty:
        yield LeftOut(origin, NO_DOCUMENT)


def _cut(document: Document, characters: int) -> Iterator[Document]:
    text, start = document.text, 0
    while len(text) - start > characters:
        first = start + characters
        end = _LINE_END.search(text, first, first + characters)
        end = end or _BLANK.search(text, first)
        if end is None:
            break
        yield Document(text[start : end.end()], document.origin)
        start = end.end()
    yield Document(text[start:], document.origin)


def _read(
    path: str, options: ReadOptions, on_open: Callable[[BinaryIO], None]
) -> Iterator[Record]:
    if kind(path) == "array_record":
        yield from _read_array_record(path, options)
        return
    try:
        with open(path, "rb") as opened:
            on_open(opened)
            yield from _read_stream(path, path, opened, options)
    except OSError as error:
        yield BrokenRecord(path, f"cannot be read: {error.strerror}")


def _read_stream(
    name: str, origin: str, raw: BinaryIO, options: ReadOptions
) -> Iterator[Record]:
    try:
        stream = compressed.decompress(name, raw)
        what = kind(name)
        if what == "tar":
            yield from _read_tar(origin, stream, options)
        elif what == "jsonl":
            yield from _read_jsonl(origin, stream, options)
        elif options.document_per_line:
            yield from _read_lines(origin, stream)
        else:
            yield _text_document(origin, stream.read())
    except compressed.BROKEN as error:
        yield BrokenRecord(origin, f"truncated or corrupt: {error}")
    except OSError as error:
        yield BrokenRecord(origin, f"cannot be read: {error.strerror}")


def _read_tar(origin: str, stream: BinaryIO, options: ReadOptions) -> Iterator[Record]:
    accepted, left_out = 0, {}
    try:
        for member, contents in tar_archives.members(stream):
            if member.isdir():
                continue
            place = f"{origin}!{member.name}"
            reason = _left_out_of_archive(member)
            if reason:
                first, count = left_out.get(reason, (place, 0))
                left_out[reason] = (first, count + 1)
                continue
            accepted += 1
            records = _read_stream(member.name, place, contents, options)
            yield from _or_named(place, records)
    except tarfile.TarError as error:
        yield BrokenRecord(origin, f"truncated or corrupt archive: {error}")
    else:
        if not accepted:
            yield BrokenRecord(origin, "the archive has no .txt or .jsonl file")
    for reason, (first, count) in left_out.items():
        yield LeftOut(first, reason, count)


def _left_out_of_archive(member: tarfile.TarInfo) -> str | None:
    """Returns the reason for skipping an archive's member, or None to read it."""
    if any(map(is_hidden, member.name.split("/"))):
        return HIDDEN
    if not member.isfile():
        return LINK_IN_ARCHIVE
    return None if kind(member.name) in ("txt", "jsonl") else OTHER_KIND


def _read_jsonl(
    origin: str, stream: BinaryIO, options: ReadOptions
) -> Iterator[Record]:
    for number, line in enumerate(stream, start=1):
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield _json_document(f"{origin}:{number}", line, options)


def _read_lines(origin: str, stream: BinaryIO) -> Iterator[Record]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield _text_document(f"{origin}:{number}", line.rstrip(b"\r\n"))


def _read_array_record(path: str, options: ReadOptions) -> Iterator[Record]:
    broken = False
    try:
        reader = array_record_module.ArrayRecordReader(path)
        total = reader.num_records()
        for start in range(0, total, _ARRAY_RECORD_BATCH):
            stop = min(start + _ARRAY_RECORD_BATCH, total)
            numbers = range(start, stop)
            for record in _read_array_records(path, reader, numbers, options):
                broken = broken or isinstance(record, BrokenRecord)
                yield record
        reader.close()  # Raises if the file could not be opened.
    except _ARRAY_RECORD_ERRORS as error:
        if not broken:
            yield BrokenRecord(path, f"not a complete ArrayRecord file: {error}")


def _read_array_records(
    path: str,
    reader: array_record_module.ArrayRecordReader,
    numbers: range,
    options: ReadOptions,
) -> Iterator[Record]:
    """Reads a batch of records, or one at a time if any of them is corrupt."""
    try:
        records = reader.read(numbers.start, numbers.stop)
    except _ARRAY_RECORD_ERRORS as error:
        if len(numbers) > 1:
            for number in numbers:
                yield from _read_array_records(
                    path, reader, range(number, number + 1), options
                )
        else:
            yield BrokenRecord(f"{path}:{numbers.start}", f"corrupt: {error}")
        return
    for number, record in zip(numbers, records, strict=True):
        # A record that starts with a brace is JSON, any other is text.
        if record.lstrip().startswith(b"{"):
            yield _json_document(f"{path}:{number}", record, options)
        else:
            yield _text_document(f"{path}:{number}", record)


def _json_document(
    origin: str, line: bytes, options: ReadOptions
) -> Document | BrokenRecord:
    try:
        record = json.loads(line)
    except RecursionError:
        return BrokenRecord(origin, "not valid JSON: nested too deeply")
    except ValueError as error:
        return BrokenRecord(origin, f"not valid JSON: {error}")
    field = options.text_field
    if not isinstance(record, dict) or field not in record:
        return BrokenRecord(origin, f"not a JSON object with the field {field!r}")
    text = record[field]
    if not isinstance(text, str):
        kind = type(text).__name__
        return BrokenRecord(origin, f"field {field!r} is {kind}, not a string")
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
