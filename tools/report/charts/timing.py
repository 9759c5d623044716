"""How steady the speed of each run was."""

import altair as alt

from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.charts import residuals
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var


def draw(tables: study_tables.StudyTables, variant: str = "wide") -> alt.LayerChart:
    """Draws the interquartile range of each run's speed over its median.

    Runs marked noisy, which enter no fit against time, are ringed in red.

    Args:
        tables: the tables of the study; a run was timed.
        variant: unused: it fits one column of a page, and a phone.
    """
    del variant
    values = [r["spread"] for r in tables["runs"] if r["spread"] is not None]
    title = "interquartile range of speed / median"
    x = axes.linear_x("spread", [0, max(values) or 0.01], title, grid=True)
    x["axis"]["format"] = ".0%" if max(values) > 0.03 else ".1%"
    bad = (
        parts.named("runs")
        .transform_filter("datum.noisy == 1 && isValid(datum.spread)")
        .encode(x=x, yOffset=alt.YOffset("arch:N", sort=list(tables.looks)))
        .mark_point(size=110, stroke=var("bad"), strokeWidth=1.5, opacity=1)
    )
    return residuals.by_size(tables, x, "isValid(datum.spread)", [bad])
