"""Renders records as tables, as text for a terminal and in Markdown."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TextIO

from clinometer.kernels import terminal
from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import report

_HEAD = (
    *("implementation", "cycles", "status", "bundles", "roofline", "part", "around"),
    *("VMEM MiB", "temp MiB", "spills", "fills", "busiest slots", "ratio", ""),
)
# Fixed widths, so that the columns of all tables are aligned.
_WIDTHS = (22, 7, 17, 7, 8, 4, 6, 8, 8, 6, 5, 20, 5)


def text(
    records: Sequence[report.Record], stream: TextIO | None = None
) -> Iterator[str]:
    """Renders the table of one case for one topology.

    Args:
        records: records of the case.
        stream: the stream that the lines will be written to, by default standard
            output.

    Yields:
        The lines.
    """
    first = records[0]
    keys = ("op", "pass", "shape", "dtype", "topology")
    yield "  ".join(str(first[key]) for key in keys)
    heading, *lines = terminal.table(
        map(_cells, records), _HEAD, left=(0, 2, 11, 13), widths=_WIDTHS, stream=stream
    )
    yield f"  {heading}"
    for record, line in zip(records, lines, strict=True):
        yield f"  {line}"
        if record["reason"]:
            yield f"      {record['reason']}"
        if record["lacks"] is not None:
            ratio = record["ratio_to_ours"]
            times = f"{ratio:.2f} times the cycles of ours; " if ratio else ""
            yield f"      {times}{record['lacks']}"
        if record["implementation"] == case_lib.OURS:
            if record["status"] != report.SIMULATED and record["simulator_reason"]:
                yield f"      not simulated: {record['simulator_reason'][:160]}"
            yield from _around(record["instructions"])


def _cells(record: report.Record) -> tuple[str, ...]:
    best = record["implementation"] == record["best_xla"]
    return (
        record["implementation"],
        _number(record["cycles"]),
        record["status"],
        _number(record["bundles"]),
        _number(record["roofline_cycles"]),
        _number(record["fraction_of_roofline"], ".0%"),
        _number(record["around_cycles"]),
        _mebibytes(record["vmem_bytes"]),
        _mebibytes(record["hbm_temp_bytes"]),
        _number(record["spills"]),
        _number(record["fills"]),
        _busiest(record["slot_use"]),
        _number(record["ratio_to_best_xla"], ".2f"),
        "<- best of XLA's" if best else "",
    )


def markdown(records: Sequence[report.Record]) -> Iterator[str]:
    """Yields the lines of a Markdown table with a row for each record."""
    columns = (
        *("op", "shape", "pass", "chip", "program", "cycles", "status", "simulated"),
        *("kernel", "around", "HBM", "roofline (binds)", "part", "VMEM MiB"),
        *("HBM temp MiB", "spills", "XLA's best / this"),
    )
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for record in records:
        binds = record["binds"] and f" ({record['binds']})"
        cells = (
            *(record[name] for name in ("op", "shape", "pass", "chip")),
            record["implementation"],
            _number(record["cycles"]),
            record["status"],
            _number(record["simulated_part"], ".1%"),
            _number(record["kernel_cycles"]),
            _number(record["around_cycles"]),
            _number(record["hbm_cycles"]),
            _number(record["roofline_cycles"]) + (binds or ""),
            _number(record["fraction_of_roofline"], ".0%"),
            _mebibytes(record["vmem_bytes"]),
            _mebibytes(record["hbm_temp_bytes"]),
            _number(record["spills"]),
            _number(record["ratio_to_best_xla"], ".2f"),
        )
        yield f"| {' | '.join(cells)} |"


def _around(instructions: Sequence[report.Record]) -> Iterator[str]:
    if all(x["kind"] != "pallas" for x in instructions):
        return
    for x in instructions:
        if x["kind"] != "pallas":
            yield (
                f"      beside the kernel: {x['name']}, {x['cycles']:,} cycles "
                f"({x['status']})"
            )


def _busiest(use: Mapping[str, float] | None) -> str:
    if not use:
        return "-"
    top = sorted(use.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{name} {part:.0%}" for name, part in top)


def _number(value: float | None, form: str = ",.0f") -> str:
    return "-" if value is None else format(value, form)


def _mebibytes(value: int | None) -> str:
    return "-" if value is None else format(value / 2**20, ".2f")
