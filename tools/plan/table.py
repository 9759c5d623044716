"""Renders plans as text for a terminal of 80 columns."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import textwrap
from typing import Any
from typing import TextIO

from clinometer.kernels import terminal
from clinometer.tools.plan.fit import search
from clinometer.train.sharding import mesh as mesh_lib

_WIDTH = 80
_HEAD = ("model", "GiB", "ms", "MFU", "hours", "chip-hours")


def text(
    records: Sequence[Mapping[str, Any]], stream: TextIO | None = None
) -> Iterator[str]:
    """Yields the lines of the plans for one topology.

    Args:
        records: from `run_plan.make`, at least one.
        stream: where the lines will be written; None for standard output.
    """
    first = records[0]
    capacity = first["memory"]["capacity_bytes"]
    yield from wrapped(
        f"{first['topology']}: {first['chips']} chips, {first['devices']} devices of "
        f"{gibibytes(capacity)} GiB; batch {first['batch_size']} x "
        f"{first['encoder_length']}/{first['decoder_length']}; "
        f"{first['steps']:,} steps"
    )
    optional = {
        "cost": f"cost {first['currency'] or ''}".strip(),
        "kwh": "kWh",
    }
    shown = [key for key in optional if any(r[key] is not None for r in records)]
    head = (*_HEAD, *(optional[key] for key in shown))
    rows = [_cells(record, shown) for record in records]
    heading, *lines = terminal.table(rows, head, stream=stream)
    yield heading
    for record, line in zip(records, lines, strict=True):
        yield line
        yield from wrapped(_details(record), "  ")
    if not all(record["fits"] for record in records):
        yield from wrapped(
            "What does not fit may do so with --remat layer, more microbatches or "
            "another mesh, which --fit searches."
        )
    methods = {record["method"] for record in records if record["method"]}
    for method in sorted(methods):
        yield from wrapped(f"Time: {method}.")


def fits(outcomes: Sequence[search.Outcome]) -> Iterator[str]:
    """Yields the lines of what was found for each model.

    Args:
        outcomes: of one topology.
    """
    for outcome in outcomes:
        yield from wrapped(
            f"{outcome.records[0]['model']}: of {outcome.possible:,} ways to run a "
            f"step, {outcome.estimated:,} are estimated to fit and "
            f"{len(outcome.records)} were compiled; the fastest is first."
        )
        yield from text(outcome.records)
        yield ""


def gibibytes(number: int | None) -> str:
    """Returns a number of bytes in GiB, without the unit.

    Args:
        number: number of bytes; None if it is not known.
    """
    return "-" if number is None else format(number / 2**30, ".1f")


def _cells(record: Mapping[str, Any], shown: Sequence[str]) -> tuple[str, ...]:
    seconds = record["step_seconds"]
    return (
        record["model"],
        gibibytes(record["memory"]["total_bytes"]),
        "does not fit" if not record["fits"] else number(1000 * seconds),
        "-" if record["mfu"] is None else format(record["mfu"], ".0%"),
        *(number(record[key]) for key in ("hours", "chip_hours", *shown)),
    )


def number(value: float | None) -> str:
    """Returns a number with three digits, or "-" for None.

    Args:
        value: the number.
    """
    if value is None:
        return "-"
    return format(value, ",.0f") if value >= 100 else format(value, ".3g")


def _details(record: Mapping[str, Any]) -> str:
    sizes = mesh_lib.Sizes(**record["mesh"])
    parts = [f"mesh {sizes}"]
    if (policy := record["fields"].get("remat", "none")) != "none":
        parts.append(f"remat {policy}")
    if record["num_microbatches"] > 1:
        parts.append(f"{record['num_microbatches']} microbatches")
    if record["reason"]:
        parts.append(record["reason"])
    for kind, found in (record["collectives"] or {}).items():
        sent = number(found["wire_bytes"] / 1e6)
        parts.append(f"{found['count']:,} {kind} send {sent} MB")
    if times := record["step_seconds_by_rule"]:
        told = ", ".join(f"{name} {number(1000 * t)} ms" for name, t in times.items())
        parts.append(f"by all rules: {told}")
    if record["pallas_calls"]:
        parts.append(f"{record['pallas_calls']:,} Pallas calls")
    if record["pallas_calls_without_cost"]:
        parts.append(f"no cost of {', '.join(record['pallas_calls_without_cost'])}")
    if record["unknown_loops"]:
        parts.append(f"{record['unknown_loops']} loops of unknown length count once")
    cached = ", from the cache" if record["cached"] else ""
    parts.append(f"program {record['program'][:12]}{cached}")
    return "; ".join(parts)


def wrapped(line: str, indent: str = "") -> list[str]:
    """Returns the lines of a text that is wrapped to 80 columns.

    Args:
        line: the text.
        indent: what each line begins with.
    """
    return textwrap.wrap(
        line, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  "
    )
