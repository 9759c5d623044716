"""Benchmark records: reads, writes, prints and compares them."""

from collections.abc import Iterable
from collections.abc import Sequence
import json
from typing import Any
from typing import TextIO

from clinometer.kernels import terminal

Record = dict[str, Any]

_KEY = ("op", "pass", "implementation", "shape", "dtype")
_CONDITIONS = ("device", "host_cpu", "threads", "isa")
_HEAD = (
    *("implementation", "median ms", "IQR ms", "ratio", "temp MiB", "difference"),
    *("matmul", "copy", ""),
)
_WIDTHS = (18, 9, 7, 6, 8, 10, 6, 5)  # So that the columns of all cases line up.
_NEEDED = (*_KEY, "ratio_to_best_reference")


def dumps(records: Sequence[Record]) -> str:
    """Returns the records as JSON, ending in a newline."""
    return json.dumps(records, indent=1) + "\n"


def read(path: str) -> list[Record]:
    """Reads records from a JSON file.

    Args:
        path: a file written by `clinometer bench --out`.

    Raises:
        ValueError: if the file cannot be read or contains no benchmark records.
    """
    found = read_list(path, _NEEDED)
    for place, record in enumerate(found):
        ratio = record["ratio_to_best_reference"]
        if not isinstance(ratio, int | float) or not ratio > 0:
            raise ValueError(
                f"{path}: record {place}: ratio_to_best_reference must be a number "
                f"above 0, got {ratio!r}"
            )
    return found


def read_list(path: str, needed: Sequence[str]) -> list[Record]:
    """Reads a JSON file with a list of records of any kind.

    Args:
        path: the file.
        needed: fields that every record must have.

    Raises:
        ValueError: if the file cannot be read or contains no such records.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, list) or not found:
        raise ValueError(f"{path}: must hold a list of at least one record")
    for place, record in enumerate(found):
        missing = [
            key for key in needed if not isinstance(record, dict) or key not in record
        ]
        if missing:
            raise ValueError(f"{path}: record {place} has no {', '.join(missing)}")
    return found


def table(records: Sequence[Record], stream: TextIO | None = None) -> str:
    """Returns the records of one case as a text table with a heading.

    Args:
        records: records from `runner.run_case`.
        stream: where the text will be written; None for standard output.
    """
    first = records[0]
    lines = terminal.table(
        map(_cells, records), _HEAD, left=(0, 8), widths=_WIDTHS, stream=stream
    )
    heading = "  ".join(first[key] for key in ("op", "shape", "dtype", "pass"))
    return "\n".join([heading, *(f"  {line}" for line in lines)])


def _cells(record: Record) -> tuple[str, ...]:
    memory = record["temp_bytes"]
    best = record["implementation"] == record["best_reference"]
    return (
        record["implementation"],
        f"{1e3 * record['median_seconds']:.3f}",
        f"{1e3 * record['iqr_seconds']:.3f}",
        f"{record['ratio_to_best_reference']:.2f}",
        "-" if memory is None else f"{memory / 2**20:.1f}",
        f"{record['difference']:.1e}",
        _fraction(record.get("fraction_of_matmul_rate")),
        _fraction(record.get("fraction_of_copy_rate")),
        "<- best jnp form" if best else "",
    )


def _fraction(value: float | None) -> str:
    return "-" if value is None else format(value, ".0%")


def compare(
    old: Sequence[Record],
    new: Sequence[Record],
    tolerance: float,
    gated: Iterable[str],
    stream: TextIO | None = None,
) -> tuple[str, int]:
    """Compares the ratios of two runs.

    Ratios are compared because they do not depend on the machine's speed, although they
    are still noisy.

    Args:
        old: records of an earlier run.
        new: records of this run.
        tolerance: the fraction by which a ratio may fall, e.g. 0.25.
        gated: implementations whose fall counts; others are only shown.
        stream: where the text will be written; None for standard output.

    Returns:
        The text to show, and the number of ratios that fell too far.

    Raises:
        ValueError: if the runs have no record in common.
    """
    before = {_key(record): record for record in old}
    common = [record for record in new if _key(record) in before]
    if not common:
        raise ValueError(
            "no record of the older run matches one of this run in op, pass, "
            "implementation, shape and dtype"
        )
    gated = tuple(gated)
    lines = []
    for name in _CONDITIONS:
        was, now = old[0].get(name), new[0].get(name)
        if was != now:
            lines.append(f"note: {name} was {was}, is {now}")
    fallen, rows = 0, []
    for record in common:
        was = before[_key(record)]["ratio_to_best_reference"]
        now = record["ratio_to_best_reference"]
        fell = record["implementation"] in gated and now < was * (1.0 - tolerance)
        fallen += fell
        name = " ".join(_key(record))
        mark = "FELL  " if fell else ""
        rows.append((f"{was:.2f}", f"{now:.2f}", f"{now / was - 1:+.0%}", mark + name))
    head = ("ratio before", "now", "change", "")
    lines += terminal.table(rows, head, left=(3,), widths=(12, 6, 7), stream=stream)
    absent = len(new) - len(common)
    if absent:
        lines.append(f"{absent} of {len(new)} records are not in the older run")
    lines.append(
        f"{fallen} of {len(common)} ratios fell by more than {tolerance:.0%} "
        f"(counted: {', '.join(gated)})"
    )
    return "\n".join(lines), fallen


def _key(record: Record) -> tuple[str, ...]:
    return tuple(record[name] for name in _KEY)
