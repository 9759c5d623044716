"""The tables of the law of size and data, for the figure that draws it."""

from typing import Any

import numpy as np

from clinometer.tools.laws import alphas
from clinometer.tools.laws import points as points_lib
from clinometer.tools.laws import surfaces
from clinometer.tools.report.tables import model_table
from clinometer.tools.report.tables import sources as sources_lib

_BEYOND = 3.0  # How many times the most tokens of all sizes curves reach.
_CURVE = 32  # Points of a curve.

Table = list[dict[str, Any]]


def make(sources: sources_lib.Sources) -> tuple[Table, Table]:
    """Returns the measured points and the fitted curves of every law.

    Args:
        sources: what was read.

    Returns:
        The points, with the columns key (of the model), arch, size, tokens and loss
        (nats); and points of curves, a curve for each architecture and size, with the
        columns arch, size, tokens, loss, beyond (1 if the size was not measured with so
        few or so many tokens, so that the law extrapolates) and name, the size at the
        end of its curve and "" elsewhere.
    """
    if sources.laws is None:
        return [], []
    key_of = model_table.of_run(sources.rows)
    points, curves = [], []
    for surface in sources.laws.surfaces:
        if surface.law is None:
            continue
        by_size: dict[float, list[points_lib.Point]] = {}
        for point in surface.measured:
            params = point.values[alphas.PARAMS].mean
            by_size.setdefault(params, []).append(point)
        most = max(p.values[surfaces.TOKENS].mean for p in surface.measured)
        for params, own in by_size.items():
            size = own[0].model.partition("-")[2] or own[0].model
            tokens = [p.values[surfaces.TOKENS].mean for p in own]
            points += [
                {
                    "key": key_of[p.runs[0]],
                    "arch": surface.architecture,
                    "size": size,
                    "tokens": t,
                    "loss": p.values[points_lib.LOSS].mean,
                }
                for p, t in zip(own, tokens)
            ]
            low, high, end = min(tokens), max(tokens), _BEYOND * most
            for beyond, ends in ((0, (low, high)), (1, (high, end))):
                if ends[0] == ends[1]:
                    continue
                at = np.geomspace(*ends, _CURVE)
                losses = surface.law.predict(np.full(_CURVE, params), at)
                curves += [
                    {
                        "arch": surface.architecture,
                        "size": size,
                        "tokens": float(t),
                        "loss": float(loss),
                        "beyond": beyond,
                        "name": size if t == at[-1] and beyond else "",
                    }
                    for t, loss in zip(at, losses)
                ]
    return points, curves
