"""Ranks by loss beside ranks by score."""

import altair as alt

from clinometer.models.architectures import registry
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import CHOSEN
from clinometer.tools.report.theme import var


def draw(tables: study_tables.StudyTables, variant: str = "wide") -> alt.LayerChart:
    """Draws a line from each architecture's rank by loss to its rank by score.

    Args:
        tables: the tables of the study; `ranks` has rows.
        variant: unused: it fits one column of a page, and a phone.
    """
    del variant
    most = max(row["rank"] for row in tables["ranks"])
    y = alt.Y(
        "rank:Q",
        title=None,
        axis=None,
        scale=alt.Scale(domain=[0.3, most + 0.6], reverse=True, nice=False),
    )
    x = alt.X(
        "side:N",
        title=None,
        sort=["up", "down"],
        scale=alt.Scale(paddingOuter=0.4),
        axis=alt.Axis(
            orient="top",
            domain=False,
            ticks=False,
            labelFontSize=11.5,
            labelAngle=0,
            labelColor=var("ink"),
            labelExpr="datum.value == 'up' ? 'by loss' : 'by score'",
        ),
    )
    base = parts.named("ranks").encode(x=x, y=y)
    reference = f"datum.arch == '{registry.REFERENCE}'"
    focus = f"(length(picked) == 0 ? {reference} : {CHOSEN})"
    strong = base.transform_filter(focus).encode(color=parts.hue(tables))
    text = {
        "text": "line:N",
        "opacity": alt.condition(focus, alt.value(1), alt.value(0.7)),
    }
    layers = [
        base.mark_line(stroke=var("faint"), strokeWidth=1.5).encode(detail="arch:N"),
        strong.mark_line(strokeWidth=2.2).encode(detail="arch:N"),
        base.mark_point(filled=True, size=56, opacity=1).encode(
            shape=parts.shape(tables), fill=parts.fill(tables)
        ),
        base.transform_filter("datum.side == 'up'")
        .mark_text(align="right", dx=-11)
        .encode(**text),
        base.transform_filter("datum.side == 'down'")
        .mark_text(align="left", dx=11)
        .encode(**text),
        parts.target(base, 300),
    ]
    height = 60 + 25 * most
    return parts.framed(layers, tables, ["ranks"], parts.FULL, height)
