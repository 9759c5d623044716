"""The records of a benchmark: as a file, as a table, and against older ones."""

from collections.abc import Iterable
from collections.abc import Sequence
import json
from typing import Any

Record = dict[str, Any]

_KEY = ("op", "pass", "implementation", "shape", "dtype")
_CONDITIONS = ("device", "host_cpu", "threads", "isa")
_NEEDED = (*_KEY, "ratio_to_best_reference")


def dumps(records: Sequence[Record]) -> str:
    """Returns the records as JSON, with a line's end."""
    return json.dumps(records, indent=1) + "\n"


def read(path: str) -> list[Record]:
    """Reads records.

    Raises:
        ValueError: it cannot be read, or holds no records of `clinometer bench`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, list) or not found:
        raise ValueError(f"{path}: must hold a list of records, one at least")
    for place, record in enumerate(found):
        missing = [
            key for key in _NEEDED if not isinstance(record, dict) or key not in record
        ]
        if missing:
            raise ValueError(f"{path}: record {place} has no {', '.join(missing)}")
        ratio = record["ratio_to_best_reference"]
        if not isinstance(ratio, int | float) or not ratio > 0:
            raise ValueError(
                f"{path}: record {place}: ratio_to_best_reference must be a number "
                f"above 0, got {ratio!r}"
            )
    return found


def table(records: Sequence[Record]) -> str:
    """Returns the records as text, one line each, a heading for each case."""
    lines = []
    last = None
    for record in records:
        case = (record["op"], record["shape"], record["dtype"], record["pass"])
        if case != last:
            lines += ["", "  ".join(case)]
            lines.append(
                f"  {'implementation':<18}{'median ms':>11}{'IQR ms':>9}{'ratio':>8}"
                f"{'temp MiB':>10}{'difference':>12}{'matmul':>8}{'copy':>7}"
            )
            last = case
        memory = record["temp_bytes"]
        best = record["implementation"] == record["best_reference"]
        lines.append(
            f"  {record['implementation']:<18}"
            f"{1e3 * record['median_seconds']:>11.3f}"
            f"{1e3 * record['iqr_seconds']:>9.3f}"
            f"{record['ratio_to_best_reference']:>8.2f}"
            f"{'-' if memory is None else format(memory / 2**20, '.1f'):>10}"
            f"{record['difference']:>12.1e}"
            + _fraction(record.get("fraction_of_matmul_rate"), 8)
            + _fraction(record.get("fraction_of_copy_rate"), 7)
            + ("  <- best jnp form" if best else "")
        )
    return "\n".join(lines[1:])


def _fraction(value: float | None, width: int) -> str:
    return f"{'-' if value is None else format(value, '.0%'):>{width}}"


def compare(
    old: Sequence[Record],
    new: Sequence[Record],
    tolerance: float,
    gated: Iterable[str],
) -> tuple[str, int]:
    """Compares ratios; a ratio is free of the machine's speed, if not of its noise.

    Args:
        old: records of an earlier run.
        new: records of this run.
        tolerance: the part of a ratio by which it may fall, e.g. 0.25.
        gated: implementations whose fall counts; others are only shown.

    Returns:
        The text to show, and how many ratios fell too far.

    Raises:
        ValueError: the runs have nothing in common.
    """
    before = {_key(record): record for record in old}
    common = [record for record in new if _key(record) in before]
    if not common:
        raise ValueError(
            "no record of the older run has the op, pass, implementation, shape and "
            "dtype of one of this run"
        )
    gated = tuple(gated)
    lines = []
    for name in _CONDITIONS:
        was, now = old[0].get(name), new[0].get(name)
        if was != now:
            lines.append(f"note: {name} was {was}, is {now}")
    fallen = 0
    lines.append(f"{'ratio before':>12}{'now':>8}{'change':>9}")
    for record in common:
        was = before[_key(record)]["ratio_to_best_reference"]
        now = record["ratio_to_best_reference"]
        fell = record["implementation"] in gated and now < was * (1.0 - tolerance)
        fallen += fell
        name = " ".join(_key(record))
        mark = "FELL  " if fell else ""
        lines.append(f"{was:>12.2f}{now:>8.2f}{now / was - 1:>+9.0%}  {mark}{name}")
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
