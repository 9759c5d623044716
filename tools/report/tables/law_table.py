"""The table of held-out errors, for the figure that draws them."""

from typing import Any

from clinometer.tools.laws import left_out
from clinometer.tools.laws import points
from clinometer.tools.laws import surfaces
from clinometer.tools.report import theme
from clinometer.tools.report.tables import sources as sources_lib

LAWS = (left_out.LINE, left_out.POWER, left_out.SURFACE)


def held_out(sources: sources_lib.Sources) -> list[dict[str, Any]]:
    """Returns what each law said of the loss of the size that it had not seen.

    Columns: arch, label, law; size, the one that was left out; beyond, how many times
    the training FLOPs of the largest fitted one it took; observed and predicted, nats;
    error, predicted less observed; lo and hi, its 95 % interval, None if unknown.
    """
    if sources.laws is None:
        return []
    looks = theme.looks(row["architecture"] for row in sources.rows)
    made = []
    for one in sources.laws.left_out:
        extrapolates = one.x == surfaces.FLOPS or one.law == left_out.SURFACE
        if one.target != points.LOSS or one.error is None or not extrapolates:
            continue
        known = one.low is not None
        made.append(
            {
                "arch": one.architecture,
                "label": looks[one.architecture].label,
                "law": one.law,
                "size": one.model.partition("-")[2],
                "beyond": 10**one.distance,
                "observed": one.observed,
                "predicted": one.predicted,
                "error": one.error,
                "lo": one.low - one.observed if known else None,
                "hi": one.high - one.observed if known else None,
            }
        )
    place = {name: i for i, name in enumerate(looks)}
    return sorted(made, key=lambda r: (place[r["arch"]], LAWS.index(r["law"])))
