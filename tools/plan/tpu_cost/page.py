"""Renders an HTML page with bar charts of cycles and rooflines."""

from collections.abc import Sequence
import functools
from typing import Any

from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import report
from clinometer.tools.report import figure as figure_lib
from clinometer.tools.report import page
from clinometer.tools.report.charts import cycles
from clinometer.tools.report.grids import grid

_NOTES = (
    "Cycles are estimates of the TPU compiler for one core, not times measured on a "
    "TPU. Solid bars are results of its simulator. Hollow bars are the bundles of its "
    "schedule, with loops times their trip counts; they leave out stalls and include "
    "both sides of every branch. No estimate is lower than the cycles that HBM needs "
    "for the bytes that are moved.",
    "The red mark is the roofline: the largest of the cycles that the operation needs "
    "of the matrix units (at the occupancy of its tiles), of the vector units, of the "
    "exponential unit, and of the memory. Dark bars are our kernels, grey ones XLA's.",
)
_MOST_WORDS = 110  # Of a reason, in a figure; the table has all of it.


def table(records: Sequence[report.Record]) -> list[dict[str, Any]]:
    """Returns a row for each record, for the figures.

    Columns: case, name (topology and program), ours, simulated (1 or 0), cycles,
    roofline (None if unknown), words (written beside the bar), and card.
    """
    rows = []
    for record in records:
        count, part = record["cycles"] or None, record["fraction_of_roofline"]
        if count is None:
            said = record["reason"] or ""
            words = record["status"] + (f": {said}" if said else "")
        else:
            words = f"{count:,}"
            words += f" ({part:.0%} of {record['binds']})" if part else ""
        rows.append(
            {
                "case": _case(record),
                "name": f"{record['topology']}  {record['implementation']}",
                "ours": int(record["implementation"] == case_lib.OURS),
                "simulated": int(record["status"] == report.SIMULATED),
                "cycles": count,
                "roofline": record["roofline_cycles"] or None,
                "words": words[:_MOST_WORDS],
                "card": [["status", record["status"]], ["cycles", words]],
            }
        )
    return rows


def draw(records: Sequence[report.Record]) -> str:
    """Returns the HTML of the page, which is self-contained."""
    rows = table(records)
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figures = [
        figure_lib.make(
            f"cycles-{i}",
            case,
            f"Cycles of each program of {case}; the numbers are in the table.",
            functools.partial(cycles.draw, {"cycles": rows}, panel=case),
            narrow=True,
            panel=case,
        )
        for i, case in enumerate(cases)
    ]
    versions = ", ".join(
        f"{name} {', '.join(sorted({str(r[key]) for r in records}))}"
        for name, key in (("libtpu", "libtpu_version"), ("jax", "jax_version"))
    )
    simulated = sum(row["simulated"] for row in rows)
    return page.render(
        "sheet.html",
        "Kernel cycles estimated by the TPU compiler",
        {},
        kicker=versions,
        headline=f"Kernel cycles estimated by the TPU compiler: {simulated} of "
        f"{len(rows)} programs simulated",
        notes=_NOTES,
        figures=figures,
        grid=_grid(records),
    )


def _case(record: report.Record) -> str:
    return "  ".join(record[name] for name in ("op", "pass", "shape", "dtype"))


def _grid(records: Sequence[report.Record]) -> grid.Grid:
    columns = ("op", "pass", "shape", "dtype", "topology", "implementation", "status")
    numbers = ("cycles", "bundles", "roofline_cycles")
    body = [
        [
            *(grid.text(record[name]) for name in columns),
            *(
                grid.Cell(
                    f"{record[name]:,.0f}" if record[name] is not None else "–",
                    grid.key(record[name]),
                )
                for name in numbers
            ),
            grid.Cell(record["reason"] or "", wrap=True),
        ]
        for record in records
    ]
    heads = (*columns, "cycles", "bundles", "roofline", "reason")
    return grid.make(
        "cycles",
        "Cycles of every program",
        heads,
        body,
        text_columns=range(7),
        sortable=True,
        filtered=True,
    )
