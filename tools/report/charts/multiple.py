"""One architecture's loss against training FLOPs, before the reference in grey."""

import altair as alt

from clinometer.models.architectures import registry
from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

# Number of columns on a wide page -> outer size of a panel, pixels.
_SIZES = {1: (700, 380), 2: (530, 300), 3: (parts.FULL, 226), 4: (262, 176)}
_MOST_NAMES = 8
_NARROW = {1: (parts.FULL, 280), 2: (166, 136)}


def columns(tables: study_tables.StudyTables) -> int:
    """Returns the number of columns of panels on a wide page."""
    return min(4, max(1, len({model["arch"] for model in tables["models"]})))


def draw(
    tables: study_tables.StudyTables, variant: str = "wide", panel: str = ""
) -> alt.LayerChart:
    """Draws the panel of an architecture.

    Large marks are the means of the sizes with 95 % intervals, small dots single runs,
    and the dashed line the straight line. All panels share both axes.

    Args:
        tables: the tables of the study.
        variant: "wide" or "narrow".
        panel: the architecture.
    """
    models = tables["models"]
    count = columns(tables)
    wide = variant == "wide"
    width, height = _SIZES[count] if wide else _NARROW[min(count, 2)]
    losses = [m[c] for m in models for c in ("lo", "loss", "hi") if m[c] is not None]
    losses += [run["loss"] for run in tables["runs"] if run["loss"] is not None]
    flops = [m["training_flops"] for m in models if m["training_flops"]]
    big = width > 500
    # Small panels say the unit in the captions, once for all.
    title = "training FLOPs (log)" if big else None
    x = axes.log("training_flops", flops, title, most=5 if big else 3)
    y = axes.linear_y("loss", losses, "validation loss, nats" if big else "nats")
    mine, base = "datum.arch == panel", f"datum.arch == '{registry.REFERENCE}'"
    apart = "ladder:N"
    grey = parts.named("models").transform_filter(base).encode(x=x, y=y)
    one = (
        parts.named("models")
        .transform_filter(mine)
        .encode(x=x, y=y, color=parts.hue(tables))
    )
    line = parts.named("lines").transform_filter(mine)
    dots = parts.named("runs").transform_filter(f"{mine} && isValid(datum.loss)")
    offset = 8
    ring, wide_target = parts.hot(one)
    known = "isValid(datum.lo)"
    layers = [
        wide_target,  # Below the dots, so that each of them still names its run.
        line.mark_line(stroke=var("faint"), strokeWidth=1.2, strokeDash=[4, 3]).encode(
            x=parts.same(x, "flops"), y=y
        ),
        grey.mark_line(stroke=var("ghost"), strokeWidth=1.6).encode(detail=apart),
        grey.transform_filter(known)
        .mark_rule(stroke=var("ghost"), strokeWidth=1)
        .encode(y=parts.same(y, "lo"), y2="hi:Q"),
        grey.mark_point(
            shape=theme.SHAPES["circle"],
            filled=True,
            size=28,
            fill=var("ghost"),
            opacity=1,
        ),
        parts.target(dots, 42, xOffset=offset).encode(x=x, y=y),
        dots.mark_point(
            shape="circle", filled=True, size=9, opacity=0.5, xOffset=offset
        ).encode(x=x, y=y, color=parts.hue(tables)),
        one.transform_filter(known)
        .mark_rule(strokeWidth=1.6)
        .encode(y=parts.same(y, "lo"), y2="hi:Q"),
        one.mark_line(strokeWidth=1.5).encode(detail=apart),
        one.mark_point(
            filled=True, size=84, opacity=1, stroke=var("paper"), strokeWidth=0.8
        ).encode(shape=parts.shape(tables)),
        ring,
    ]
    if big:
        # Where losses fall there is room above the line, at its end below it.
        text, named = {"text": "size:N"}, one.encode(y=y)
        first = named.transform_filter("!datum.last")
        if len(models) > _MOST_NAMES:  # Else names of shapes of one size overlap.
            first = first.transform_filter("!datum.alone")
        layers += parts.halo(first, text, align="left", dx=13, dy=-11)
        last = named.transform_filter("datum.last == 1")
        layers += parts.halo(last, text, align="right", dx=-9, dy=10)
    names = ("models", "runs", "lines")
    return parts.framed(layers, tables, names, width, height, panel=panel)
