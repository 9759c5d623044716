"""Reads and writes CSV files of results, and checks every value of them."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import io
import math
from typing import Any

import pandas as pd

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.results import columns
from clinometer.tools.results import errors
from clinometer.tools.results import table

MOST_ROWS = 100_000
_LONGEST = 300  # Characters of a text.
_FLAGS = {"true": True, "false": False}
# Losses of several texts or vocabularies stand in no fit together.
_TEXT = ("corpus_hash", "vocabulary_sha256")
# What makes two rows one run, whatever their names.
_MEASURED = ("validation_loss_nats", "training_seconds", "steps_per_second_median")


def read(path: paths.PathLike, mixed: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a CSV file of results.

    Args:
        path: of the file, UTF-8, with a line of column names.
        mixed: "corpus_hash" or "vocabulary_sha256", if rows with a loss may differ in
            it.

    Returns:
        A frame as `frame.read` gives it.

    Raises:
        ResultsError: the file cannot be used; the message names it, the line and the
            column, and what is accepted.
    """
    path = paths.parse(path)
    try:
        text = paths.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.ResultsError(f"{path}: is not UTF-8 text ({error})") from error
    except OSError as error:
        raise errors.ResultsError(f"{path}: {error.strerror or error}") from error
    try:
        return parse(text, path.name, mixed)
    except errors.ResultsError as error:
        raise errors.ResultsError(f"{path}: {error}") from error


def parse(text: str, source: str, mixed: Sequence[str] = ()) -> pd.DataFrame:
    """Parses the text of a CSV file of results.

    Args:
        text: of the file.
        source: `source` of the rows that give none.
        mixed: as for `read`.

    Raises:
        ResultsError: see `read`; the message names the line and column.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    rows, lines = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(rows) == MOST_ROWS:
                raise errors.ResultsError(
                    f"line {reader.line_num}: more than {MOST_ROWS:,} rows; accepted: "
                    f"up to {MOST_ROWS:,}"
                )
            rows.append(_row(header, values, reader.line_num, source))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise errors.ResultsError(f"line {reader.line_num}: {error}") from error
    if not rows:
        raise errors.ResultsError("has no rows of results")
    _check_fractions(header, rows)
    _check_duplicates(rows, lines)
    with_loss = [row for row in rows if row["validation_loss_nats"] is not None]
    others = set(comparable.COLUMNS) - set(_TEXT)
    try:
        # Runs of other lengths or rates may stand in one file: each fit checks them.
        comparable.check_comparable(with_loss, (*others, *mixed))
    except fit_errors.FitError as error:
        raise errors.ResultsError(
            str(error).replace("clinometer report --mixed", "--mixed")
        ) from error
    return table.of_records(rows)


def write(frame: pd.DataFrame) -> str:
    """Returns a frame as the text of a CSV file that `parse` reads back.

    Numbers have full precision. Columns without any value are left out.
    """
    kept = [n for n in frame.columns if n in columns.NEEDED or frame[n].notna().any()]
    kept = [name for name in kept if name != "left_out"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(kept)
    for row in table.to_records(frame):
        writer.writerow([_text(row[name]) for name in kept])
    return out.getvalue()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _check_header(header: Sequence[str]) -> None:
    if not any(header):
        raise errors.ResultsError(
            f"line 1: no column names; accepted:\n{columns.table()}"
        )
    for name in header:
        if header.count(name) > 1:
            raise errors.ResultsError(f"line 1: the column {name!r} occurs twice")
        try:
            columns.describe(name)
        except errors.ResultsError as error:
            raise errors.ResultsError(f"line 1: {error}") from error
    missing = [name for name in columns.NEEDED if name not in header]
    if missing:
        raise errors.ResultsError(f"line 1: the column {missing[0]!r} is needed")


def _row(
    header: Sequence[str], values: Sequence[str], line: int, source: str
) -> dict[str, Any]:
    if len(values) != len(header):
        raise errors.ResultsError(
            f"line {line}: has {len(values)} values; accepted: {len(header)}, as the "
            "column names"
        )
    row = dict.fromkeys((*(c.name for c in columns.IMPORTED), *comparable.COLUMNS))
    for name, value in zip(header, values):
        try:
            row[name] = _value(name, value.strip())
        except ValueError as error:
            raise errors.ResultsError(f"line {line}: {name} {error}") from error
    for name in columns.NEEDED:
        if row[name] is None:
            raise errors.ResultsError(f"line {line}: {name} is empty; it is needed")
    first, _, rest = str(row["model"]).partition("-")
    row["architecture"] = row["architecture"] or first
    # What the frame has of every run, as if the trainer had written it.
    row |= {"size": rest, "status": "finished", "role": "final", "copy_of": None}
    row["source"] = row["source"] or source
    row["published"] = bool(row["published"])
    row["left_out"] = None
    return row


def _value(name: str, text: str) -> Any:
    """Parses one value.

    Raises:
        ValueError: it is not accepted; the message begins with its verb.
    """
    if not text:
        return None
    if columns.kind(name) is columns.Kind.TEXT:
        if len(text) > _LONGEST or not text.isprintable():
            raise ValueError(
                f"is {ranges.shown(text[:40])}; accepted: up to {_LONGEST} printable "
                "characters"
            )
        return text
    if columns.kind(name) is columns.Kind.FLAG:
        if text.lower() not in _FLAGS:
            raise ValueError(f"is {ranges.shown(text)}; accepted: true or false")
        return _FLAGS[text.lower()]
    documented = columns.describe(name)
    accepted = documented.accepted if documented else "a finite number"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"is {ranges.shown(text)}; accepted: a number, {accepted}")
    if documented and not documented.low <= number <= documented.high:
        hint = f" ({documented.hint})" if documented.hint else ""
        raise ValueError(f"is {text}; accepted: {accepted}{hint}")
    return number


def _check_fractions(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a column of scores that are fractions of 1."""
    for task in columns.tasks(header):
        name = f"score_{task}"
        found = [row[name] for row in rows if row[name] is not None]
        if found and 0 < max(found) <= 1:
            raise errors.ResultsError(
                f"column {name}: all values are at most 1, which looks like fractions; "
                "accepted: percent, 0 to 100"
            )


def _check_duplicates(rows: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> None:
    names: dict[Any, int] = {}
    contents: dict[Any, int] = {}
    for row, line in zip(rows, lines):
        if row["run"] in names:
            raise errors.ResultsError(
                f"line {line}: the run {row['run']!r} is already on line "
                f"{names[row['run']]}; accepted: each run once"
            )
        names[row["run"]] = line
        if any(row[name] is not None for name in _MEASURED):
            content = tuple(v for k, v in row.items() if k not in ("run", "source"))
            if content in contents:
                raise errors.ResultsError(
                    f"line {line}: the run {row['run']!r} repeats line "
                    f"{contents[content]} under another name; accepted: each run once"
                )
            contents[content] = line
