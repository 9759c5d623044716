"""Loss against a cost with the Pareto frontier, all architectures together."""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any

import altair as alt

from clinometer.tools.report import costs
from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

_SIZE = (parts.FULL, 300)
_INNER = (300, 250)  # About that of the area inside of the axes.
_LETTER, _LINE = 6.0, 13.0  # Size of a letter of a name, pixels.


def draw(
    tables: study_tables.StudyTables, cost: costs.CostAxis, variant: str = "wide"
) -> alt.LayerChart:
    """Draws the loss of all models against a cost.

    The step joins the frontier, where nothing cheaper has a lower loss. Names stand
    beside the models on it, where there is room, with their sizes if all are of one
    architecture.

    Args:
        tables: the tables of the study.
        cost: the cost.
        variant: unused: it fits one column of a page, and a phone.
    """
    del variant
    field, front = cost.key, f"front_{cost.key}"
    models = [m for m in tables["models"] if m[field] is not None]
    title = f"{cost.axis} (log)" if len(cost.axis) < 40 else f"{cost.per} (log)"
    x = axes.log(field, [m[field] for m in models], title)
    y = axes.linear_y("loss", [m["loss"] for m in models], "validation loss, nats")
    base = parts.named("models").transform_filter(f"isValid(datum.{field})")
    base = base.encode(x=x, y=y)
    some = base.transform_filter(f"datum.{front} == 1 || {theme.CHOSEN}")
    layers = [
        base.transform_filter(f"datum.{front} == 1").mark_line(
            interpolate="step-after", stroke=var("faint"), strokeWidth=1.5
        ),
        base.mark_point(
            shape="circle", filled=True, size=13, fill=var("ghost"), opacity=1
        ),
        some.mark_point(
            size=74, filled=True, stroke=var("paper"), strokeWidth=0.8
        ).encode(
            shape=parts.shape(tables),
            color=parts.hue(tables),
            opacity=alt.condition(theme.PICKED, alt.value(1), alt.value(0.14)),
        ),
    ]
    sized = len({m["arch"] for m in models if m[front]}) == 1
    names = {"text": alt.Text("name:N" if sized else "label:N")}
    base_of_names = base.transform_calculate(name="datum.label + ' ' + datum.size")
    for place in placed(models, field, front, sized):
        mine = (
            (base_of_names if sized else base)
            .transform_filter({"field": "key", "oneOf": place["keys"]})
            .transform_filter(theme.PICKED)
        )
        mark = {key: place[key] for key in ("align", "dx", "dy")}
        layers += parts.halo(mine, names, fontSize=10.5, **mark)
    layers += parts.hot(base, 160)
    return parts.framed(layers, tables, ["models"], *_SIZE)


def placed(
    models: Sequence[Mapping[str, Any]], field: str, front: str, sized: bool = False
) -> list[dict[str, Any]]:
    """Finds places for the names of models on the frontier, free of one another.

    Args:
        models: the table of models.
        field: column of the cost.
        front: column that is 1 on its frontier.
        sized: whether names have the size, too.

    Returns:
        For each place beside a mark that is used: `align`, `dx`, `dy` and the `keys` of
        the models whose names stand there. A name without a free place is left out.
    """
    if not models:
        return []
    logs = [math.log10(m[field]) for m in models]
    losses = [m["loss"] for m in models]

    def scaled(value: float, values: Sequence[float], length: int) -> float:
        span = max(values) - min(values)
        return length * (0.06 + 0.86 * (value - min(values)) / span) if span else 0.0

    points = [
        (scaled(x, logs, _INNER[0]), -scaled(y, losses, _INNER[1]))
        for x, y in zip(logs, losses)
    ]
    places = (("right", -8, 7), ("left", 8, -7), ("right", -8, -7), ("left", 8, 8))
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    found: dict[int, list[str]] = {}
    for model, (px, py) in zip(models, points):
        if not model[front]:
            continue
        letters = len(model["label"]) + (1 + len(model["size"]) if sized else 0)
        wide = _LETTER * letters
        for i, (align, dx, dy) in enumerate(places):
            left = px + dx - (wide if align == "right" else 0)
            box = (left, py + dy - _LINE / 2, left + wide, py + dy + _LINE / 2)
            if box[0] < 0 or box[2] > _INNER[0] + 10:
                continue
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.setdefault(i, []).append(model["key"])
                break
    return [
        {**dict(zip(("align", "dx", "dy"), places[i])), "keys": keys}
        for i, keys in sorted(found.items())
    ]


def _overlap(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    apart = one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
    return not apart
