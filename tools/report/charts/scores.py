"""Scores after fine-tuning against the loss before it."""

import altair as alt

from clinometer.models.architectures import registry
from clinometer.tools.report import score_names
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import CHOSEN
from clinometer.tools.report.theme import var

_SIZE = (parts.FULL, 270)
_FEW = 4  # Up to as many architectures are all drawn out.


def names(tables: study_tables.StudyTables) -> list[str]:
    """Returns the panels: the names of tasks and averages, likelihoods last."""
    found = dict.fromkeys(row["name"] for row in tables["scores"])
    return sorted(found, key=lambda n: ("likelihood" in n, *score_names.order(n)))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws one task or average, in percent; lower losses are to the right.

    The reference is drawn out, with 95 % intervals, and so are those picked, or all if
    they are few; the others are grey.

    Args:
        tables: the tables of the study.
        variant: unused: it fits one column of a page, and a phone.
        panel: one of `names`.
    """
    del variant
    rows = [row for row in tables["scores"] if row["name"] == panel]
    shown_values = [r[c] for r in rows for c in ("score", "majority")]
    x = axes.linear_x(
        "loss",
        [row["loss"] for row in rows],
        "← validation loss, nats: lower is better",
        most=4,
    )
    x["scale"]["reverse"] = True
    y = axes.percent_y(
        "score",
        [value for value in shown_values if value is not None],
        [r[c] for r in rows for c in ("lo", "hi")],
    )
    base = parts.named("scores").transform_filter("datum.name == panel")
    base = base.encode(x=x, y=y)
    few = len({row["arch"] for row in rows}) <= _FEW
    shown = f"(length(picked) == 0 ? {'true' if few else _REFERENCE} : {CHOSEN})"
    focus = base.transform_filter(shown).encode(color=parts.hue(tables))
    layers = []
    if any(row["majority"] is not None for row in rows):
        layers.append(
            base.transform_filter("isValid(datum.majority)")
            .transform_aggregate(majority="max(majority)")
            .mark_rule(stroke=var("ghost"), strokeDash=[4, 3])
            .encode(y=parts.same(y, "majority"), x=alt.Undefined)
        )
    layers += [
        base.mark_point(filled=True, size=34, fill=var("ghost"), opacity=0.8).encode(
            shape=parts.shape(tables)
        ),
        focus.mark_line(strokeWidth=1.4).encode(order="loss:Q", detail="ladder:N"),
        focus.transform_filter("isValid(datum.lo)")
        .mark_rule(strokeWidth=1.2, clip=True)
        .encode(y=parts.same(y, "lo"), y2="hi:Q"),
        focus.mark_point(
            filled=True, size=84, opacity=1, stroke=var("paper"), strokeWidth=0.8
        ).encode(shape=parts.shape(tables)),
        *parts.halo(
            base.transform_filter(f"datum.last == 1 && {shown}"),
            {"text": "label:N"},
            align="right",
            dx=-9,
            dy=-11,
            fontSize=10.5,
        ),
        *parts.hot(base),
    ]
    return parts.framed(layers, tables, ["scores"], *_SIZE, panel=panel)


_REFERENCE = f"datum.arch == '{registry.REFERENCE}'"
