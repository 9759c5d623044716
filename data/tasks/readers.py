"""Readers of the common file formats: TSV, JSON lines, JSON, CSV and label lists.

Files are UTF-8, with or without a byte order mark, with LF or CRLF line ends, plain or
compressed (.gz, .xz, .zst). An invalid row is an error that names the file and line.
Rows are dropped and counted only where a release is known to contain invalid ones.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import csv as csv_module
import io
import json
import os
import pathlib
import re
from typing import Any
from typing import BinaryIO

from clinometer.data.corpus import compressed
from clinometer.data.errors import DataError
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import shortened

_BOM = "\ufeff"
# An unpaired surrogate, which JSON can represent but UTF-8 cannot.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
csv_module.field_size_limit(
    (1 << 31) - 1
)  # The default, 131,072, is less than an article.


def kind(path: pathlib.Path) -> str:
    """Returns a file's extension without the dot ("tsv"), ignoring compression."""
    return os.path.splitext(compressed.strip_suffix(path.name))[1].removeprefix(".")


def beside(path: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the path of another file in the same folder, or None if it is missing.

    Args:
        path: a file.
        name: name of the other file, which may be compressed.
    """
    names = [path.with_name(name + suffix) for suffix in ("", *compressed.SUFFIXES)]
    return next((file for file in names if file.exists()), None)


def lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yields the lines of a text file.

    Args:
        path: the file.

    Yields:
        (`file:line`, the line without its line end).

    Raises:
        DataError: the file cannot be read or is not valid UTF-8.
    """
    number = 0
    with binary(path) as stream:
        try:
            for number, data in enumerate(stream, 1):
                origin = f"{path}:{number}"
                line = _decode(data, origin).removesuffix("\n").removesuffix("\r")
                yield origin, line.removeprefix(_BOM) if number == 1 else line
        except compressed.BROKEN as error:
            raise _broken(f"{path}:{number + 1}", error) from None


def text(path: pathlib.Path) -> str:
    """Returns the contents of a text file, with unchanged line ends.

    Raises:
        DataError: the file cannot be read or is not valid UTF-8.
    """
    with binary(path) as stream:
        return _decode(stream.read(), str(path)).removeprefix(_BOM)


@contextlib.contextmanager
def binary(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file, decompressing it if it has a compression suffix.

    Raises:
        DataError: the path is not a file, cannot be opened or read, or the compressed
            stream is corrupt.
    """
    try:
        if path.exists() and not path.is_file():
            # Opening a pipe would block.
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise DataError(f"{path}: {kind}, not a file.")
        with open(path, "rb") as raw:
            yield compressed.decompress(str(path), raw)
    except compressed.BROKEN as error:
        raise _broken(str(path), error) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from None


def _broken(origin: str, error: Exception) -> DataError:
    return DataError(f"{origin}: truncated or corrupt: {error}")


def tsv(
    path: pathlib.Path,
    *,
    needed: Sequence[str],
    rename: Mapping[str, str] = {},
    headerless: Mapping[int, Sequence[str]] = {},
    short_rows: bool = False,
    drop_malformed: bool = False,
) -> Iterator[Row | Dropped]:
    r"""Yields the rows of a file of tab-separated values, in which `"` is literal.

    Args:
        path: the file.
        needed: columns that a header must have; a first line without them is data.
        rename: column name in the file -> field name.
        headerless: number of columns -> their names, for files without a header.
        short_rows: whether columns at the end of a row may be missing; the row then
            lacks these fields.
        drop_malformed: whether to drop rows with the wrong number of columns; by
            default they are errors.

    Raises:
        DataError: the file cannot be read, the columns are unknown, or a row has the
            wrong number of columns.
    """
    names = None
    for origin, line in lines(path):
        if not line:
            continue
        fields = line.split("\t")
        if names is None:
            header = [rename.get(field, field) for field in fields]
            if set(needed) <= set(header):
                names = {len(header): header}
                continue
            if not headerless or len(fields) not in headerless and not drop_malformed:
                raise _unknown_columns(origin, fields, needed, rename, headerless)
            names = headerless
        columns = names.get(len(fields))
        if columns is None and short_rows and len(fields) < max(names):
            columns = names[max(names)]
        if columns is not None:
            yield Row(zip(columns, fields), origin)
            continue
        wanted = " or ".join(map(str, names))
        if not drop_malformed:
            raise DataError(f"{origin}: {len(fields)} columns, not {wanted}.")
        yield Dropped(origin, f"a row without {wanted} columns")


def jsonl(path: pathlib.Path, split: str = "") -> Iterator[Row]:
    """Yields the objects of a file of JSON lines.

    Args:
        path: the file.
        split: unused; makes this function a `Task.read`.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    del split  # Each file is of one split.
    for origin, line in lines(path):
        if line.strip():
            yield Row(_object(_parse(line, origin), origin), origin)


def json_object(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        DataError: the file cannot be read or does not contain a JSON object.
    """
    return _object(_parse(text(path), str(path)), str(path))


def json_list(path: pathlib.Path) -> Iterator[Row]:
    """Yields the objects of a JSON file that contains a list, with origin `file[i]`.

    Raises:
        DataError: the file cannot be read or does not contain a list of JSON objects.
    """
    records = _parse(text(path), str(path))
    if not isinstance(records, list):
        raise DataError(f"{path}: not a JSON list, but {type(records).__name__}.")
    for index, record in enumerate(records):
        origin = f"{path}[{index}]"
        yield Row(_object(record, origin), origin)


def csv(
    path: pathlib.Path,
    *,
    needed: Sequence[str],
    rename: Mapping[str, str] = {},
) -> Iterator[Row]:
    """Yields the rows of a file of comma-separated values with a header.

    Args:
        path: the file. Quoted fields may contain line ends.
        needed: columns that the header must have.
        rename: column name in the file -> field name.

    Raises:
        DataError: the file cannot be read, the columns are unknown, or a row is
            invalid.
    """
    reader = csv_module.reader(io.StringIO(text(path), newline=""), strict=True)
    names = None
    line = 1
    try:
        for fields in reader:
            origin = f"{path}:{line}"
            line = reader.line_num + 1
            if names is None:
                names = [rename.get(field, field) for field in fields]
                if not set(needed) <= set(names):
                    raise _unknown_columns(origin, fields, needed, rename, {})
            elif fields:
                if len(fields) != len(names):
                    raise DataError(
                        f"{origin}: {len(fields)} columns, not {len(names)}."
                    )
                yield Row(zip(names, fields), origin)
    except csv_module.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}.") from None


def with_labels(
    rows: Iterator[Row], path: pathlib.Path, field: str = "label"
) -> Iterator[Row]:
    """Yields rows with the labels of a label list, if there is one.

    The label list of `dev.jsonl` is `dev-labels.lst`, with one label per line.

    Args:
        rows: the rows of the file.
        path: the file.
        field: the field for the label.

    Raises:
        DataError: the list does not have a label for each row, or contradicts the label
            of a row.
    """
    name = os.path.splitext(compressed.strip_suffix(path.name))[0]
    listed = beside(path, f"{name}-labels.lst")
    if listed is None:
        yield from rows
        return
    labels = [label for label in lines(listed) if label[1].strip()]
    count = 0
    for row in rows:
        if count < len(labels):
            origin, label = labels[count]
            if str(row.setdefault(field, label.strip())) != label.strip():
                raise row.error(f"{field} {row[field]!r}, but {origin} has {label!r}")
        count += 1
        yield row
    if count != len(labels):
        raise DataError(
            f"{path} has {count} rows, but {listed} has {len(labels)} labels."
        )


def _decode(data: bytes, origin: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: not valid UTF-8: {error}") from None


def _parse(data: str, origin: str) -> Any:
    try:
        value = json.loads(data)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{origin}: not valid Unicode: {half!r} is an unpaired surrogate."
        ) from None
    except RecursionError:
        raise DataError(
            f"{origin}: not valid JSON: lists or objects are nested too deeply."
        ) from None
    except ValueError as error:
        raise DataError(f"{origin}: not valid JSON: {error}") from None
    return value


def _object(record: Any, origin: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataError(f"{origin}: not a JSON object, but {type(record).__name__}.")
    return record


def _unknown_columns(
    origin: str,
    fields: Sequence[str],
    needed: Sequence[str],
    rename: Mapping[str, str],
    headerless: Mapping[int, Sequence[str]],
) -> DataError:
    release = {new: old for old, new in rename.items()}
    accepted = "a header with " + ", ".join(release.get(n, n) for n in needed)
    for names in headerless.values():
        accepted += f"; or no header and {len(names)} columns: {', '.join(names)}"
    shown = shortened(", ".join(field[:40] for field in fields))
    return DataError(
        f"{origin}: unknown columns ({len(fields)}: {shown}); accepted are {accepted}."
    )
