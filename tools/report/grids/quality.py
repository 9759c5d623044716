"""Tables of measurement quality: what was left out, and where the wall time went."""

from collections.abc import Sequence

from clinometer.tools.report import analysis
from clinometer.tools.report import formats
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report.grids import grid

_ACTIVITIES = (
    *("step", "compile", "calibration", "input_wait"),
    *("evaluation", "checkpoint", "paused", "other"),
)


def left_out(
    fits: Sequence[analysis.CostFit], rows: Sequence[rows_lib.Row]
) -> grid.Grid:
    """Returns the runs that fits leave out, and why."""
    costs: dict[tuple[str, str], list[str]] = {}
    for fit in fits:
        for run, why in fit.left_out.items():
            costs.setdefault((run, why), []).append(fit.cost.per)
    every = len({fit.cost.key for fit in fits})
    body = [
        (
            grid.text(run),
            grid.Cell(why, why, wrap=True),
            grid.Cell(
                "every fit" if len(names) == every else f"fits of {', '.join(names)}",
                wrap=True,
            ),
        )
        for (run, why), names in costs.items()
    ]
    heads = ("Run", "What happened", "Left out of")
    # The record of failures obeys no selection, so its rows name no architecture.
    return grid.make(
        "left_out", "Runs that fits leave out", heads, body, text_columns=range(3)
    )


def wall_time(rows: Sequence[rows_lib.Row]) -> grid.Grid:
    """Returns each size's share of wall time by activity, as the trainer measured it.

    A size has no row without a timed run.
    """
    sizes: dict[str, list[rows_lib.Row]] = {}
    for row in sorted(rows, key=lambda row: row["params_total"] or 0):
        if row["wall_step_seconds"] is not None:
            sizes.setdefault(row["size"], []).append(row)
    body = []
    for size, own in sizes.items():
        seconds = {
            name: sum(row[f"wall_{name}_seconds"] or 0 for row in own)
            for name in _ACTIVITIES
        }
        total = sum(seconds.values())
        shares = [100 * value / total if total else 0.0 for value in seconds.values()]
        body.append(
            [
                grid.text(size),
                grid.Cell(formats.duration(total), total),
                *(grid.Cell(f"{s:.0f}", s, share=s) for s in shares),
            ]
        )
    names = (name.replace("_", " ") for name in _ACTIVITIES)
    heads = ("Size", ("All runs", "wall time"), *((name, "%") for name in names))
    return grid.make(
        "wall_time", "Wall time by activity, in percent", heads, body, sortable=True
    )
