"""The page of a file that `clinometer bench --out` wrote."""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
from typing import Any

import pandas as pd

from clinometer.tools.report import figure as figure_lib
from clinometer.tools.report import formats
from clinometer.tools.report import page
from clinometer.tools.report.charts import bench
from clinometer.tools.report.grids import grid

_OURS = "cpu"  # The C++ kernels.
_NOTES = (
    "A ratio is the seconds of the best plain-jnp form of the same run over those of "
    "the implementation: above 1 it is faster. Dark: the C++ kernels; grey: the jnp "
    "forms. Ratios of one run do not depend on the machine's speed, but are noisy. "
    "forward+backward includes the forward pass.",
    "Of the matmul and of the copy: the rate of floating-point operations relative to "
    "a large matrix product of XLA's, and the time of a copy of as many bytes relative "
    "to the implementation's.",
)


def table(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row for each record, for the figure.

    Columns: case (operation and shape), pass, name (of the implementation), ratio, ours
    (1 for the C++ kernels), and card (what is said beside its mark).

    Args:
        records: from `kernels.bench.records.read`.
    """
    return [
        {
            "case": f"{record['op']}  {record['shape']}",
            "pass": record["pass"],
            "name": record["implementation"],
            "ratio": record["ratio_to_best_reference"],
            "ours": int(record["implementation"] == _OURS),
            "card": [
                ["case", f"{record['op']} {record['shape']}, {record['pass']}"],
                ["ratio", f"{record['ratio_to_best_reference']:.2f}"],
                ["median", _milliseconds(record.get("median_seconds"))],
            ],
        }
        for record in records
    ]


def render(
    records: Sequence[Mapping[str, Any]],
) -> tuple[str, figure_lib.Figure]:
    """Returns the HTML of the page, and its figure.

    Args:
        records: from `kernels.bench.records.read`; one or more.
    """
    rows = table(records)
    drawn = figure_lib.make(
        "bench",
        "Ratios to the best plain-jnp form",
        "Ratio of every implementation, operation and pass; see the table.",
        functools.partial(bench.draw, {"bench": rows}),
        narrow=True,
    )
    html = page.render(
        "sheet.html",
        "Kernels against plain jnp",
        {},
        kicker=_conditions(records[0]),
        headline=_headline(rows),
        notes=_NOTES,
        figures=[drawn],
        grid=_grid(records),
    )
    return html, drawn


def csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns the records as CSV, a column for each field that is not a table."""
    flat = [
        {k: v for k, v in record.items() if not isinstance(v, dict | list)}
        for record in records
    ]
    return pd.DataFrame(flat).to_csv(index=False, lineterminator="\n")


def _headline(rows: Sequence[Mapping[str, Any]]) -> str:
    own = [row["ratio"] for row in rows if row["ours"]]
    if not own:
        return "The C++ kernels were not measured"
    faster = sum(ratio > 1 for ratio in own)
    low, high = formats.significant(min(own), 2), formats.significant(max(own), 2)
    return (
        f"The C++ kernels are faster than the best jnp form in {faster} of {len(own)} "
        f"cases, {low} to {high} times as fast"
    )


def _conditions(record: Mapping[str, Any]) -> str:
    versions = record.get("versions") or {}
    parts = (
        record.get("host_cpu"),
        f"{record['threads']} threads" if record.get("threads") else None,
        record.get("isa"),
        record["dtype"],
        f"jax {versions['jax']}" if "jax" in versions else None,
        f"{record['rounds']} rounds" if record.get("rounds") else None,
    )
    return ", ".join(str(part) for part in parts if part)


def _grid(records: Sequence[Mapping[str, Any]]) -> grid.Grid:
    body = [
        (
            grid.text(record["op"]),
            grid.text(record["shape"]),
            grid.text(record["dtype"]),
            grid.text(record["pass"]),
            grid.Cell(
                record["implementation"],
                record["implementation"],
                strong=record["implementation"] == _OURS,
            ),
            grid.Cell(
                _milliseconds(record.get("median_seconds")),
                grid.key(record.get("median_seconds")),
            ),
            grid.Cell(
                _milliseconds(record.get("iqr_seconds")),
                grid.key(record.get("iqr_seconds")),
            ),
            grid.Cell(
                f"{record['ratio_to_best_reference']:.2f}",
                record["ratio_to_best_reference"],
            ),
            _percent(record.get("fraction_of_matmul_rate")),
            _percent(record.get("fraction_of_copy_rate")),
        )
        for record in records
    ]
    heads = (
        *("operation", "shape", "dtype", "pass", "implementation"),
        *(("median", "ms"), ("interquartile range", "ms"), "ratio"),
        *(("of the matmul", "rate"), ("of the copy", "rate")),
    )
    return grid.make(
        "bench",
        "All measurements of the benchmark",
        heads,
        body,
        text_columns=range(5),
        sortable=True,
        filtered=True,
    )


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.3f}"


def _percent(value: float | None) -> grid.Cell:
    return grid.Cell("–" if value is None else f"{value:.0%}", grid.key(value))
