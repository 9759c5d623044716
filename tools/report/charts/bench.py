"""How the kernels compare with the best plain-jnp form, in one benchmark."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.theme import var

_STEP = 24  # Height of a case, pixels.
_SIZES = {"wide": (1080, 260), "narrow": (parts.FULL, 150)}
_SHAPES = {"forward": "circle", "forward+backward": "diamond"}


def draw(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], variant: str = "wide"
) -> alt.LayerChart:
    """Draws the ratios of all implementations, a row for each case.

    A ratio is the seconds of the best jnp form over those of the implementation: above
    1 it is faster. Ours are dark, the others grey.

    Args:
        tables: `bench`, from `bench_page.table`.
        variant: "wide" or "narrow".
    """
    rows = tables["bench"]
    width, labels = _SIZES[variant]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    x = axes.log(
        "ratio",
        [1.0, *(row["ratio"] for row in rows)],
        "seconds of the best jnp form / seconds (log): above 1 is faster",
        lambda value: f"{value:g}",
        6 if variant == "wide" else 4,
    )
    x["axis"]["grid"] = True
    y = axes.named_rows("case", cases, labels)
    base = parts.named("bench").encode(x=x, y=y)
    layers = [
        parts.named("bench")
        .transform_aggregate(groupby=["case"])
        .transform_calculate(one="1")
        .mark_rule(stroke=var("muted"), strokeDash=[3, 2])
        .encode(x=parts.same(x, "one")),
        base.mark_point(filled=True, size=60, opacity=0.9).encode(
            shape=alt.Shape(
                "pass:N",
                scale=alt.Scale(
                    domain=list(_SHAPES),
                    range=[theme.SHAPES[shape] for shape in _SHAPES.values()],
                ),
                legend=alt.Legend(title=None, orient="top", symbolFillColor=var("ink")),
            ),
            color=alt.condition(
                "datum.ours == 1", alt.value(var("ink")), alt.value(var("ghost"))
            ),
        ),
        parts.target(base, 120),
    ]
    height = 90 + _STEP * len(cases)
    return parts.framed(layers, tables, ["bench"], width, height)
