"""Scores after fine-tuning from several checkpoints of the pretraining."""

import altair as alt

from clinometer.tools.report import score_names
from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables

_SIZE = (parts.FULL, 250)


def names(tables: study_tables.StudyTables) -> list[str]:
    """Returns the panels: the names of tasks with several steps, likelihoods last."""
    steps: dict[str, set[int]] = {}
    for row in tables["by_step"]:
        steps.setdefault(row["name"], set()).add(row["step"])
    found = [name for name, seen in steps.items() if len(seen) > 1]
    return sorted(found, key=lambda n: ("likelihood" in n, *score_names.order(n)))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws the scores of one task, a line for each run.

    Args:
        tables: the tables of the study.
        variant: unused: it fits one column of a page, and a phone.
        panel: one of `names`.
    """
    del variant
    rows = [row for row in tables["by_step"] if row["name"] == panel]
    steps = [row["step"] for row in rows]
    # Room for the names at the ends of the lines.
    ends = [*steps, max(steps) + 0.34 * (max(steps) - min(steps))]
    x = axes.linear_x("step", ends, "pretraining step", most=4)
    x["axis"]["format"] = ",d"
    x["axis"]["values"] = [v for v in x["axis"]["values"] if v <= max(steps)]
    y = axes.percent_y(
        "score",
        [row["score"] for row in rows],
        [row[end] for row in rows for end in ("lo", "hi")],
    )
    base = parts.named("by_step").transform_filter("datum.name == panel")
    base = base.encode(
        x=x,
        y=y,
        color=parts.hue(tables),
        opacity=alt.condition(theme.PICKED, alt.value(1), alt.value(0.12)),
    )
    layers = [
        base.mark_line(strokeWidth=1.4).encode(detail="id:N"),
        base.transform_filter("isValid(datum.lo)")
        .mark_rule(strokeWidth=1, clip=True)
        .encode(y=parts.same(y, "lo"), y2="hi:Q"),
        base.mark_point(filled=True, size=60).encode(shape=parts.shape(tables)),
        base.transform_filter("datum.end != ''")
        .mark_text(align="left", dx=8, fontSize=10.5)
        .encode(y=parts.same(y, "end_at"), text="end:N"),
        parts.target(
            parts.named("by_step")
            .transform_filter("datum.name == panel")
            .encode(x=x, y=y)
        ),
    ]
    return parts.framed(layers, tables, ["by_step"], *_SIZE, panel=panel)
