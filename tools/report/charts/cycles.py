"""Cycles of kernels that the TPU compiler estimates, beside their roofline."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import altair as alt

from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.theme import var

_STEP = 24  # Height of a program, pixels.
_SIZES = {"wide": (1080, 250), "narrow": (parts.FULL, 150)}


def draw(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    variant: str = "wide",
    panel: str = "",
) -> alt.LayerChart:
    """Draws one case: a bar for each program, solid where it was simulated.

    A hollow bar is the bundles of a schedule, and the red mark the roofline. A program
    without cycles has the reason.

    Args:
        tables: `cycles`, from `tpu_cost.page.table`.
        variant: "wide" or "narrow".
        panel: the case.
    """
    rows = [row for row in tables["cycles"] if row["case"] == panel]
    width, labels = _SIZES[variant]
    ends = [row[c] for row in rows for c in ("cycles", "roofline") if row[c]]
    x = axes.linear_x("cycles", [0, *(ends or [1])], "cycles", pad=0.0, grid=True)
    x["axis"]["format"] = "~s"
    # Room for the words after the longest bar.
    x["scale"]["domain"] = [0, max(ends or [1]) * (1.3 if variant == "wide" else 1.6)]
    y = axes.named_rows("name", [row["name"] for row in rows], labels)
    base = parts.named("cycles").transform_filter("datum.case == panel").encode(y=y)
    known = base.transform_filter("isValid(datum.cycles)").encode(x=x)
    ours = alt.condition(
        "datum.ours == 1", alt.value(var("ink")), alt.value(var("ghost"))
    )
    layers = [
        known.mark_bar(height=13, strokeWidth=1.4).encode(
            stroke=ours,
            fill=ours,
            fillOpacity=alt.condition(
                "datum.simulated == 1", alt.value(1), alt.value(0.15)
            ),
        ),
        base.transform_filter("isValid(datum.roofline)")
        .mark_tick(thickness=2, size=18, color=var("bad"))
        .encode(x=parts.same(x, "roofline")),
        known.mark_text(align="left", dx=6, fontSize=10.5).encode(text="words:N"),
        base.transform_filter("!isValid(datum.cycles)")
        .mark_text(align="left", dx=4, fontSize=10.5, fill=var("bad"))
        .encode(x=alt.value(0), text="words:N"),
        known.mark_bar(opacity=0, height=20),
    ]
    height = 60 + _STEP * len(rows)
    return parts.framed(layers, tables, ["cycles"], width, height, panel=panel)
