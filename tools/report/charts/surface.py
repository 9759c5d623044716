"""The law of size and data of an architecture: loss against tokens, size by size."""

import altair as alt

from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

POINTS, CURVES = "measured", "surfaces"
_SIZE = (parts.FULL, 250)


def names(tables: study_tables.StudyTables) -> list[str]:
    """Returns the panels: the architectures that have a law."""
    return list(dict.fromkeys(row["arch"] for row in tables[POINTS]))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws the measured losses and the fitted curve of every size.

    Curves are solid where their size was measured and dashed where the law
    extrapolates. All panels share both axes.

    Args:
        tables: the tables of the study; needs a law of size and data.
        variant: unused: it fits one column of a page, and a phone.
        panel: one of `names`.
    """
    del variant
    rows = [*tables[POINTS], *tables[CURVES]]
    x = axes.log("tokens", [row["tokens"] for row in rows], "training tokens (log)")
    losses = [row["loss"] for row in rows]
    y = axes.linear_y("loss", losses, "validation loss, nats")
    mine = "datum.arch == panel"
    curves = parts.named(CURVES).transform_filter(mine)
    curves = curves.encode(x=x, y=y, detail="size:N", color=parts.hue(tables))
    points = parts.named(POINTS).transform_filter(mine).encode(x=x, y=y)
    measured, beyond = (
        curves.transform_filter(f"datum.beyond == {value}") for value in (0, 1)
    )
    ends = parts.named(CURVES).transform_filter(f"{mine} && datum.name != ''")
    layers = [
        measured.mark_line(strokeWidth=1.6),
        beyond.mark_line(strokeWidth=1.2, strokeDash=[4, 3]),
        points.mark_point(
            filled=True, size=62, opacity=1, stroke=var("paper"), strokeWidth=0.8
        ).encode(shape=parts.shape(tables), color=parts.hue(tables)),
        *parts.halo(
            ends.encode(x=x, y=y),
            {"text": "name:N"},
            align="right",
            dy=-9,
            fontSize=10.5,
        ),
        *parts.hot(points, 160),
    ]
    tables_of = (POINTS, CURVES)
    return parts.framed(layers, tables, tables_of, *_SIZE, panel=panel)
