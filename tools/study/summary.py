"""Renders the summary that a study prints when it ends."""

from collections.abc import Sequence

from clinometer.kernels import terminal
from clinometer.tools.report import analysis
from clinometer.tools.report import build
from clinometer.tools.report import formats
from clinometer.tools.report import rows as rows_lib


def render(report: build.Report) -> str:
    """Returns the summary of a report as text.

    It lists the runs, compares neighboring sizes, and gives the slopes against total
    training FLOPs and the paths of the report.
    """
    blocks = [_runs(report.rows), *_separation(report.rows), *_slopes(report.fits)]
    return "\n".join([*blocks, f"report: {report.page}", f"table:  {report.table}"])


def _runs(rows: Sequence[rows_lib.Row]) -> str:
    head = (
        "run",
        "params",
        "FLOPs",
        "FLOPs/batch",
        "steps/s",
        "val. loss",
        "downstream",
        "time",
    )
    body = [
        (
            row["run"],
            formats.si(row["params_total"]),
            formats.si(row["training_flops"]),
            formats.si(row["flops_forward"]),
            formats.significant(row["steps_per_second_median"])
            + (" noisy" if row["speed_noisy"] else ""),
            formats.fixed(row["validation_loss_nats"], 4)
            if row["status"] == "finished"
            else row["status"],
            formats.with_error(
                row["downstream_score"], row["downstream_standard_error"]
            ),
            formats.duration(row["wall_total_seconds"]),
        )
        for row in rows
    ]
    return "\n".join(terminal.table(body, head))


def _separation(rows: Sequence[rows_lib.Row]) -> list[str]:
    words = {True: "better", False: "NOT clearly better", None: "seed spread unknown"}
    lines = []
    for step in analysis.separation(rows):
        needed = "" if step.needed is None else f" (needs {step.needed:.4f})"
        lines.append(
            f"{step.larger} vs. {step.smaller}: loss lower by {step.drop:.4f}{needed}, "
            f"{words[step.clear]}"
        )
    return lines


def _slopes(fits: Sequence[analysis.CostFit]) -> list[str]:
    lines = []
    for item in fits:
        if item.fit is None or item.cost.key != fits[0].cost.key:
            continue
        interval = "no interval"
        if item.fit.interval is not None:
            low, high = (formats.signed(value) for value in item.fit.interval)
            interval = f"95 % Student-t interval {low} to {high}"
        lines.append(
            f"{item.architecture}: {formats.signed(item.fit.slope)} nats per 10x "
            f"{item.cost.per} ({interval})"
        )
    return lines
