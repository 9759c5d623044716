"""Results of others, hollow, beside the models of the study."""

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import frontier
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import other_table
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

TABLE = "others"
_SIZE = (parts.FULL, 290)
_LOSS = "validation_loss_nats"


def panels(tables: study_tables.StudyTables) -> list[str]:
    """Returns the panels that have rows, in the order of the table."""
    return list(dict.fromkeys(row["panel"] for row in tables[TABLE]))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws a quality against a cost.

    Hollow marks are results of others: published ones with a whole outline, imported
    ones with a broken one. Filled marks are models of the study. A step joins the
    Pareto frontier of each source.

    Args:
        tables: tables with `others`, and looks of all its architectures.
        variant: unused: it fits one column of a page, and a phone.
        panel: one of `panels`.
    """
    del variant
    rows = [row for row in tables[TABLE] if row["panel"] == panel]
    axis, quality = rows[0]["axis"], rows[0]["quality"]
    named = {one.column: one.title for one in other_table.AXES}[axis]
    if axis == _LOSS:
        title = "← validation loss, nats: lower is better"
        x = axes.linear_x("x", [row["x"] for row in rows], title, most=4)
        x["scale"]["reverse"] = True
    else:
        x = axes.log("x", [row["x"] for row in rows], f"{named} (log)")
    unit = "nats" if quality == _LOSS else "%"
    y = axes.linear_y(
        "y", [row["y"] for row in rows], f"{other_table.quality_name(quality)}, {unit}"
    )
    base = parts.named(TABLE).transform_filter("datum.panel == panel")
    base = base.encode(x=x, y=y)
    theirs = base.transform_filter("datum.own == 0")
    faded = alt.condition(theme.PICKED, alt.value(1), alt.value(0.14))
    hollow = {"filled": False, "size": 62, "strokeWidth": 1.4, "stroke": var("muted")}
    layers = [
        theirs.transform_filter("datum.front == 1")
        .mark_line(interpolate="step-after", stroke=var("faint"), strokeWidth=1.5)
        .encode(detail="group:N"),
        theirs.transform_filter("datum.published == 1")
        .mark_point(**hollow)
        .encode(shape=parts.shape(tables), opacity=faded),
        theirs.transform_filter("datum.published == 0")
        .mark_point(**hollow, strokeDash=[2, 2])
        .encode(shape=parts.shape(tables), opacity=faded),
        base.transform_filter("datum.own == 1")
        .mark_point(filled=True, size=60, stroke=var("paper"), strokeWidth=0.8)
        .encode(shape=parts.shape(tables), color=parts.hue(tables), opacity=faded),
    ]
    points = [{**row, "loss": row["y"], "key": row["id"]} for row in rows]
    if axis != _LOSS:
        for place in frontier.placed(points, "x", "front"):
            mine = base.transform_filter({"field": "id", "oneOf": place["keys"]})
            mark = {key: place[key] for key in ("align", "dx", "dy")}
            layers += parts.halo(
                mine, {"text": alt.Text("label:N")}, fontSize=10.5, **mark
            )
    layers.append(parts.target(base, 160))
    return parts.framed(layers, tables, [TABLE], *_SIZE, panel=panel)
