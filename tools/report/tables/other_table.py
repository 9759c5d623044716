"""The table of results of others beside the study's models, for figures."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.tools.fit import pareto
from clinometer.tools.laws import alphas
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import points
from clinometer.tools.report import formats
from clinometer.tools.report import others
from clinometer.tools.report import score_names
from clinometer.tools.results import table


@dataclasses.dataclass(frozen=True)
class Axis:
    """A cost of a panel.

    Attributes:
        column: of the frame; None for the loss itself.
        key: column of the table of models, None if it has none.
        title: of the axis.
    """

    column: str
    key: str | None
    title: str


AXES = (
    Axis("params_total", "parameters", "parameters"),
    Axis("papers_macs_forward_batch", "multiply_adds", "papers’ multiply-adds"),
    Axis("training_flops", "training_flops", "training FLOPs"),
    Axis(frontiers.SPEED, None, "seconds per step"),
    Axis(points.LOSS, "loss", "validation loss"),
)
_LEAST = 3  # Rows of others that make a panel.
MOST = 300  # Rows of others in a panel, and as many on a frontier besides.


def make(
    sources: Iterable[others.Source], models: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Returns a row per panel and model, of others and, where it can be, of the study.

    Columns: panel, such as "parameters: loss"; axis, the column of x; quality, that of
    y; own, 1 for a model of the study; published; group, whose rows share a frontier: a
    source and, of speeds, a number of chips; id, name and card; arch; label; x; y, nats
    or percent; front, 1 on the frontier of its group. Of more than `MOST` rows, and
    as many on a frontier, some at even distances are kept.

    Args:
        sources: results of others.
        models: of the study, from `model_table.make`.
    """
    made = []
    found = list(sources)
    scores = dict.fromkeys(
        score for one in found if (score := alphas.score_column(one.frame))
    )
    for quality in (points.LOSS, *scores):
        for axis in AXES:
            if axis.column == quality:
                continue
            rows = [row for one in found for row in _rows(one, axis, quality)]
            if len(rows) < _LEAST:
                continue
            _mark(rows, axis, quality)
            made += _thinned(rows)
            made += _own(models, axis, quality)
    return made


def title(axis: str, quality: str) -> str:
    """Returns the heading of a panel."""
    named = {one.column: one.title for one in AXES}[axis]
    against = quality_name(quality)
    return f"{against[:1].upper()}{against[1:]} against {named}"


def quality_name(quality: str) -> str:
    """Returns the words for a loss or score."""
    if quality == points.LOSS:
        return "loss"
    return score_names.label(quality)


def _rows(source: others.Source, axis: Axis, quality: str) -> list[dict[str, Any]]:
    made = []
    kept = table.usable(source.frame, axis.column, quality)
    for row in table.to_records(kept):
        x, group = row[axis.column], source.name
        if axis.column == frontiers.SPEED:
            x, group = 1 / x, f"{source.name}, {_chips(row)} chips"
        kind = "published" if row["published"] else "imported"
        value = row[quality]
        shown = f"{value:.3f} nats" if quality == points.LOSS else f"{value:.1f} %"
        label = row["run"].rpartition(": ")[2]
        made.append(
            {
                "panel": f"{axis.column}: {quality}",
                "axis": axis.column,
                "quality": quality,
                "own": 0,
                "published": int(bool(row["published"])),
                "group": group,
                "id": f"{source.name} {row['run']}",
                "name": label,
                "card": [
                    [kind, source.name],
                    [quality_name(quality), shown],
                    [axis.title, formats.si(x)],
                ],
                "arch": row["architecture"],
                "label": label,
                "x": x,
                "y": value,
            }
        )
    return made


def _chips(row: Mapping[str, Any]) -> str:
    number = row["device_training"]
    return "unknown" if number is None else f"{number:g}"


def _mark(rows: Sequence[dict[str, Any]], axis: Axis, quality: str) -> None:
    """Sets `front`, which points against the loss have none of."""
    for row in rows:
        row["front"] = 0
    if axis.column == points.LOSS:
        return
    sign = -1 if quality == points.LOSS else 1
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        best = pareto.frontier([r["x"] for r in own], [sign * r["y"] for r in own])
        for i in best if len(own) > 1 else ():
            own[i]["front"] = 1


def _thinned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = []
    for front in (0, 1):
        own = [row for row in rows if row["front"] == front]
        kept += own[:: -(-len(own) // MOST) or 1]
    return kept


def _own(
    models: Sequence[Mapping[str, Any]], axis: Axis, quality: str
) -> list[dict[str, Any]]:
    if axis.key is None:
        return []
    made = []
    for model in models:
        y = model["loss"]
        if quality != points.LOSS:
            named = f"score_{model['score_name']}" == quality
            y = model["score"] if named else None
        x = model[axis.key]
        if x is None or y is None:
            continue
        made.append(
            {
                "panel": f"{axis.column}: {quality}",
                "axis": axis.column,
                "quality": quality,
                "own": 1,
                "published": 0,
                "group": "",
                "id": model["key"],
                "name": model["key"],
                "card": None,
                "key": model["key"],
                "arch": model["arch"],
                "label": "",
                "x": x,
                "y": y,
                "front": 0,
            }
        )
    return made
