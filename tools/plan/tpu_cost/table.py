"""Tables of records, for a terminal and for a page of Markdown."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import report


def text(records: Sequence[report.Record]) -> Iterator[str]:
    """Yields the lines of a table of one case's records for one topology."""
    first = records[0]
    keys = ("op", "pass", "shape", "dtype", "topology")
    yield "  ".join(str(first[key]) for key in keys)
    yield (
        f"  {'implementation':<22}{'cycles':>9}  {'status':<17}{'bundles':>9}"
        f"{'roofline':>9}{'part':>6}{'around':>8}{'VMEM MiB':>9}{'temp MiB':>9}"
        f"{'spills':>7}{'fills':>7}  {'busiest slots':<20}{'ratio':>7}"
    )
    for record in records:
        best = record["implementation"] == record["best_xla"]
        yield (
            f"  {record['implementation']:<22}{_number(record['cycles']):>9}"
            f"  {record['status']:<17}{_number(record['bundles']):>9}"
            f"{_number(record['roofline_cycles']):>9}"
            f"{_number(record['fraction_of_roofline'], '.0%'):>6}"
            f"{_number(record['around_cycles']):>8}"
            f"{_mebibytes(record['vmem_bytes']):>9}"
            f"{_mebibytes(record['hbm_temp_bytes']):>9}"
            f"{_number(record['spills']):>7}{_number(record['fills']):>7}"
            f"  {_busiest(record['slot_use']):<20}"
            f"{_number(record['ratio_to_best_xla'], '.2f'):>7}"
            + ("  <- best of XLA" if best else "")
        )
        if record["reason"]:
            yield f"      {record['reason']}"
        if record["implementation"] == case_lib.OURS:
            if record["status"] != report.SIMULATED and record["simulator_reason"]:
                yield f"      not simulated: {record['simulator_reason'][:160]}"
            yield from _around(record["instructions"])


def markdown(records: Sequence[report.Record]) -> Iterator[str]:
    """Yields the lines of one table of all records, a row a program."""
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
