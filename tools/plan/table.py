"""Renders plans as text for a terminal of 80 columns."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import textwrap
from typing import Any
from typing import TextIO

from clinometer.kernels import terminal
from clinometer.tools.plan import cuda
from clinometer.tools.plan import recommended
from clinometer.tools.plan.fit import search
from clinometer.train.sharding import mesh as mesh_lib

_WIDTH = 80


def text(
    records: Sequence[Mapping[str, Any]], stream: TextIO | None = None
) -> Iterator[str]:
    """Yields the lines of the plans for one topology.

    Args:
        records: from `run_plan.make` or `gpu_plan.make`, at least one.
        stream: where the lines will be written; None for standard output.
    """
    first = records[0]
    capacity = first["memory"]["capacity_bytes"]
    bounds = first["platform"] == cuda.PLATFORM
    devices = f"{first['chips']} chips, {first['devices']} devices of"
    if bounds:
        devices = f"{first['device_kind']}; JAX takes"
    yield from wrapped(
        f"{first['topology']}: {devices} {gibibytes(capacity)} GiB; "
        f"batch {first['batch_size']}{_lengths(records)}; {first['steps']:,} steps"
    )
    shown, heads = _columns(records, bounds)
    rows = [_cells(record, shown) for record in records]
    heading, *lines = terminal.table(rows, heads, stream=stream)
    yield heading
    for record, line in zip(records, lines, strict=True):
        yield line
        yield from wrapped(_details(record), "  ")
    if not all(record["fits"] for record in records):
        yield from wrapped(
            "What does not fit may do so with more microbatches or another mesh, which "
            "--fit searches, with --remat."
        )
    if bounds:
        yield from wrapped(f"Memory: {first['memory_method']}.")
    methods = {record["method"] for record in records if record["method"]}
    for method in sorted(methods):
        yield from wrapped(f"Time: {method}.")


def _lengths(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns the lengths of an example of text; "" for models of images only."""
    for record in records:
        if record["encoder_length"] is not None:
            return f" x {record['encoder_length']}/{record['decoder_length']}"
    return ""


def _columns(
    records: Sequence[Mapping[str, Any]], bounds: bool
) -> tuple[list[str], list[str]]:
    """Returns the keys of the last columns, and the heads of all."""
    named = {
        "mfu": "MFU",
        "hours": "hours",
        "chip_hours": "GPU-hours" if bounds else "chip-hours",
        "cost": f"cost {records[0]['currency'] or ''}".strip(),
        "kwh": "kWh",
    }
    optional = {"mfu", "cost", "kwh"} if bounds else {"cost", "kwh"}
    shown = [
        key
        for key in named
        if key not in optional or any(r[key] is not None for r in records)
    ]
    least = ">=" if bounds else ""
    times = [f"{least}{name}" for name in ("ms", *(named[key] for key in shown))]
    return shown, ["model", "GiB", *times]


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
        *(_cell(key, record[key]) for key in shown),
    )


def _cell(key: str, value: float | None) -> str:
    if key == "mfu" and value is not None:
        return format(value, ".0%")
    return number(value)


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
    if told := record.get("with_remat"):
        parts.append(recommended.sentence(told))
    for kind, found in (record["collectives"] or {}).items():
        sent = number(found["wire_bytes"] / 1e6)
        parts.append(f"{found['count']:,} {kind} send {sent} MB")
    if record["platform"] == cuda.PLATFORM and record["work_seconds"]:
        work = record["work_seconds"]
        told = " and ".join(f"{k} {number(1000 * work[k])} ms" for k in work)
        parts.append(f"by {told}")
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
