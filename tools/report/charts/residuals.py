"""How runs of one model differ, by size."""

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import CHOSEN
from clinometer.tools.report.theme import var


def sizes(tables: study_tables.StudyTables) -> list[str]:
    """Returns the names of the sizes, by training FLOPs."""
    least: dict[str, float] = {}
    for model in tables["models"]:
        cost = model["training_flops"] or 0.0
        least[model["size"]] = min(cost, least.get(model["size"], cost))
    return sorted(least, key=lambda size: (least[size], size))


def by_size(
    tables: study_tables.StudyTables, x: alt.X, valid: str, extra: list[alt.Chart]
) -> alt.LayerChart:
    """Returns marks of runs in a row for each size, picked ones in colour.

    Args:
        tables: the tables of the study.
        x: the x axis.
        valid: condition of the runs that are drawn.
        extra: layers above the marks.
    """
    order = sizes(tables)
    y = alt.Y(
        "size:N",
        sort=order,
        title=None,
        axis=alt.Axis(domain=False, grid=False, labelFontSize=11.5, minExtent=44),
    )
    base = parts.named("runs").transform_filter(valid)
    base = base.encode(x=x, y=y, yOffset=alt.YOffset("arch:N", sort=list(tables.looks)))
    hue = alt.Color("arch:N", scale=theme.hue(tables.looks), legend=None)
    layers = [
        base.mark_point(filled=True, size=24).encode(
            shape=parts.shape(tables),
            color=alt.condition(CHOSEN, hue, alt.value(var("muted"))),
            opacity=alt.condition(theme.PICKED, alt.value(0.75), alt.value(0.12)),
        ),
        *(layer.encode(y=y) for layer in extra),
        parts.target(base, 70),
    ]
    height = 60 + max(60, 42 * len(order))
    return parts.framed(layers, tables, ["runs"], parts.FULL, height)


def draw(tables: study_tables.StudyTables, variant: str = "wide") -> alt.LayerChart:
    """Draws each run's loss less the mean of its model.

    Args:
        tables: the tables of the study; a model has several runs.
        variant: unused: it fits one column of a page, and a phone.
    """
    del variant
    values = [r["residual"] for r in tables["runs"] if r["residual"] is not None]
    most = max(map(abs, values))
    title = "loss less the mean of its model, nats"
    x = axes.linear_x("residual", [-most, most], title, grid=True)
    return by_size(tables, x, "isValid(datum.residual)", [])
