"""The table of straight lines, for figures that draw them."""

from typing import Any

import numpy as np

from clinometer.tools.report.tables import sources as sources_lib

_COST = "training_flops"


def make(sources: sources_lib.Sources) -> list[dict[str, Any]]:
    """Returns both ends of each architecture's line against training FLOPs.

    Columns: arch, flops, loss (nats per token).
    """
    made = []
    for fit in sources.fits:
        if fit.cost.key != _COST or fit.slope is None:
            continue
        flops = [point.cost for point in fit.points]
        ends = np.array([min(flops), max(flops)])
        for x, loss in zip(ends, fit.predict(ends)):
            made.append(
                {"arch": fit.architecture, "flops": float(x), "loss": float(loss)}
            )
    return made
