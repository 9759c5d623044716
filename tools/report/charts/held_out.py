"""Errors of laws at the largest size of each architecture, which they had not seen."""

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import law_table
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

TABLE = "held_out"
_STEP = 24  # Height of a row, pixels.
_WIDTHS = {"wide": (700, 110), "narrow": (parts.FULL, 92)}  # In all, for the names.
_LINE, _POWER, _SURFACE = law_table.LAWS


def draw(tables: study_tables.StudyTables, variant: str = "wide") -> alt.LayerChart:
    """Draws predicted less observed losses, a row for each architecture.

    Filled marks are power laws with a floor, with 95 % intervals of the prediction
    where they are known; hollow circles straight lines, and crosses laws of size and
    data. The line at 0 is the measured loss.

    Args:
        tables: the tables of the study; needs a held-out error.
        variant: "wide" or "narrow".
    """
    rows = tables[TABLE]
    names = list(dict.fromkeys(row["label"] for row in rows))
    width, room = _WIDTHS[variant]
    ends = ("error", "lo", "hi")
    values = [row[c] for row in rows for c in ends if row[c] is not None]
    x = axes.linear_x(
        "error",
        [0.0, *values],
        "predicted less observed loss, nats",
        most=6 if variant == "wide" else 4,
        grid=True,
    )
    y = axes.named_rows("label", names, room)
    base = parts.named(TABLE).encode(x=x, y=y)
    shown = base.encode(
        opacity=alt.condition(theme.PICKED, alt.value(1), alt.value(0.18))
    )
    power = shown.transform_filter(f"datum.law == '{_POWER}'")
    layers = [
        parts.named(TABLE)
        .transform_aggregate(zero="count()")
        .mark_rule(stroke=var("muted"), strokeDash=[3, 2])
        .encode(x=alt.XDatum(0)),
        power.transform_filter("isValid(datum.lo)")
        .mark_rule(strokeWidth=1.6)
        .encode(x=parts.same(x, "lo"), x2="hi:Q", color=parts.hue(tables)),
        shown.transform_filter(f"datum.law == '{_LINE}'").mark_point(
            shape="circle", filled=False, size=56, strokeWidth=1.5, stroke=var("open")
        ),
        shown.transform_filter(f"datum.law == '{_SURFACE}'").mark_point(
            shape="cross", filled=True, size=44, fill=var("open")
        ),
        power.mark_point(
            filled=True, size=80, stroke=var("paper"), strokeWidth=0.8
        ).encode(shape=parts.shape(tables), color=parts.hue(tables)),
        parts.target(base),
    ]
    height = _STEP * len(names) + 46
    return parts.framed(layers, tables, [TABLE], width, height)
