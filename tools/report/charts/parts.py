"""Parts that charts share: marks that pages can pick, and the frame around them."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.tables import study_tables

FULL = 344  # One figure column, and the whole of a phone, in pixels.


def named(name: str) -> alt.Chart:
    """Returns an empty chart of one of the tables."""
    return alt.Chart(alt.NamedData(name))


def same(channel: alt.X | alt.Y, field: str) -> Any:
    """Returns the same axis and scale for another field."""
    made = channel.copy(deep=True)
    made.shorthand = f"{field}:Q"
    return made


def hue(tables: study_tables.StudyTables) -> alt.Color:
    """Returns the colour of an architecture's family."""
    return alt.Color("arch:N", scale=theme.hue(tables.looks), legend=None)


def fill(tables: study_tables.StudyTables) -> alt.Fill:
    """Returns the colour of an architecture's family, to fill marks with."""
    return alt.Fill("arch:N", scale=theme.hue(tables.looks), legend=None)


def shape(tables: study_tables.StudyTables) -> alt.Shape:
    """Returns the mark of an architecture."""
    return alt.Shape("arch:N", scale=theme.glyph(tables.looks), legend=None)


def halo(base: alt.Chart, encode: dict[str, Any], **mark: Any) -> list[alt.Chart]:
    """Returns text that stays legible over lines: an outline of paper below ink."""
    under = {"stroke": theme.var("paper"), "strokeWidth": 3, "strokeJoin": "round"}
    return [
        base.mark_text(**(mark | under)).encode(**encode),
        base.mark_text(**mark).encode(**encode),
    ]


def target(base: alt.Chart, size: int = 240, **mark: Any) -> alt.Chart:
    """Returns unseen marks around those of `base`, for pointers and the keyboard."""
    return base.mark_point(size=size, filled=True, opacity=0, **mark)


def hot(base: alt.Chart, size: int = 240) -> list[alt.Chart]:
    """Returns a ring around the model under the pointer, and a wide target."""
    ring = base.mark_point(
        shape="circle",
        filled=False,
        size=170,
        strokeWidth=1.6,
        stroke=theme.var("ink"),
    ).transform_filter("datum.key == hot")
    return [ring, target(base, size)]


def framed(
    layers: Sequence[alt.Chart],
    tables: study_tables.StudyTables | Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str],
    width: int,
    height: int,
    **params: Any,
) -> alt.LayerChart:
    """Returns the layers as a chart whose outer size is exactly this, with its data.

    Args:
        layers: from the lowest to the highest.
        tables: the tables of the study, or others by name.
        names: those that the layers name.
        width: of everything, pixels.
        height: of everything, pixels.
        **params: further parameters, such as the panel.
    """
    chart = alt.layer(
        *layers,
        width=width,
        height=height,
        padding=1,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )
    return finished(chart, tables, names, **params)


def finished(
    chart: Any,
    tables: study_tables.StudyTables | Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str],
    **params: Any,
) -> Any:
    """Gives a chart the shared selection, the theme and its data, and returns it.

    Args:
        chart: the chart, made for this; Altair's methods would copy it each time.
        tables: the tables of the study, or others by name.
        names: those that the chart names.
        **params: further parameters, such as the panel.
    """
    chart.params = [param.param for param in theme.params(**params)]
    chart.config = theme.CONFIG
    chart.datasets = {name: tables[name] for name in names}
    return chart
