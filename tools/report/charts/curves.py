"""Training losses by step, a panel for each size."""

import altair as alt

from clinometer.models.architectures import registry
from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import CHOSEN
from clinometer.tools.report.theme import var

_SIZES = {"wide": (262, 190), "narrow": (166, 150)}


def panels(tables: study_tables.StudyTables) -> list[str]:
    """Returns the panels: the sizes, by training FLOPs."""
    flops = {run["key"]: run["training_flops"] or 0 for run in tables["runs"]}
    least: dict[str, float] = {}
    for row in tables["curves"]:
        cost = flops[row["key"]]
        least[row["size"]] = min(cost, least.get(row["size"], cost))
    return sorted(least, key=lambda size: (least[size], size))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws the training losses of one size; all panels share both axes.

    Hollow marks are validation losses. Failed runs are red. The initial drop of the
    loss is cut off at the top.

    Args:
        tables: the tables of the study.
        variant: "wide" or "narrow".
        panel: one of `panels`.
    """
    width, height = _SIZES[variant]
    rows = tables["curves"]
    losses = sorted(row["loss"] for row in rows)
    # The initial drop would compress all differences between the runs.
    top = losses[min(len(losses) - 1, int(0.8 * len(losses)))]
    shown = [value for value in losses if value <= top]
    # Curves begin after a tenth of the steps' decades, so that their ends have room.
    steps = [row["step"] for row in rows]
    late = [s for s in steps if s >= max(steps) / 300]
    x = axes.log("step", late, "step (log)", lambda v: f"{v:,.0f}", 4, 0.03)
    if variant == "narrow":
        x["axis"]["values"] = x["axis"]["values"][::2]
    y = axes.linear_y("loss", shown, "nats")
    mine = parts.named("curves").transform_filter("datum.size == panel")
    base = mine.encode(x=x, y=y, detail="id:N")
    fine = base.transform_filter("!datum.failed")
    line = {"clip": True}
    drawn = len({row["arch"] for row in rows}) == 1
    reference = f"datum.arch == '{registry.REFERENCE}'"
    checks = parts.named("checks").transform_filter("datum.size == panel")
    layers = [
        fine.mark_line(stroke=var("faint"), strokeWidth=1, **line),
        fine.transform_filter("true" if drawn else reference).mark_line(
            stroke=var("vanilla"), strokeWidth=1.4, **line
        ),
        fine.transform_filter(CHOSEN)
        .mark_line(strokeWidth=1.8, **line)
        .encode(color=parts.hue(tables)),
        checks.transform_filter(f"length(picked) == 0 ? {reference} : {CHOSEN}")
        .mark_point(
            shape="circle",
            size=16,
            filled=True,
            fill=var("paper"),
            stroke=var("muted"),
            strokeWidth=1.1,
            opacity=1,
            **line,
        )
        .encode(x=x, y=y),
        base.transform_filter("datum.failed == 1").mark_line(
            stroke=var("bad"), strokeWidth=1.6, **line
        ),
        base.transform_filter("datum.failed == 1 && datum.last == 1").mark_point(
            shape=theme.SHAPES["saltire"],
            filled=True,
            size=70,
            fill=var("bad"),
            opacity=1,
        ),
        parts.target(base, 40, clip=True),
    ]
    names = ("curves", "checks")
    return parts.framed(layers, tables, names, width, height, panel=panel)
