"""Frames of made-up runs for tests of laws, with known truths."""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinometer.tools.results import csv_file

SIZES = tuple(np.geomspace(1e7, 1e9, 8))


def frame(rows: Sequence[dict]) -> pd.DataFrame:
    """Returns rows as the frame of a CSV file that has them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(str(row.get(name, "")) for name in names) for row in rows]
    return csv_file.parse("\n".join([",".join(names), *lines]), "made up")


def ladder(
    architecture: str = "transformer",
    sizes: Sequence[float] = SIZES,
    loss: Callable[[float], float] = lambda n: 1.7 + 400 * n**-0.34,
    replicates: int = 1,
    noise: float = 0.0,
    seed: int = 0,
    **columns: Callable[[float], float],
) -> list[dict]:
    """Returns rows of one architecture; `columns` map a size to further values."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, n in enumerate(sizes):
        for k in range(replicates):
            rows.append(
                {
                    "run": f"{architecture}-{i}-{k}",
                    "model": f"{architecture}-s{i}",
                    "seed": k,
                    "params_total": round(n),
                    "papers_macs_forward_batch": round(6e4 * n),
                    "training_flops": round(1e11 * n),
                    "validation_loss_nats": loss(n) + noise * rng.standard_normal(),
                    **{name: make(n) for name, make in columns.items()},
                }
            )
    return rows
