"""Equation 1 of Tay et al. 2021 both ways: error = N_c * N^alpha + floor.

Upstream the error is the loss, downstream 1 - score. The paper fits it to all shapes of
vanilla together; here to all points of each architecture.
"""

from collections.abc import Sequence
import dataclasses

import pandas as pd

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import power_law
from clinometer.tools.laws import alphas
from clinometer.tools.laws import points as points_lib
from clinometer.tools.results import table

UPSTREAM, DOWNSTREAM = "upstream", "downstream"


@dataclasses.dataclass(frozen=True)
class Law:
    """The law of an architecture one way.

    Attributes:
        architecture: the architecture.
        way: `UPSTREAM` or `DOWNSTREAM`.
        size: column of N.
        error: "loss", or the column of the score.
        points: number of points.
        fit: the law; None if there is none.
        reason: why.
    """

    architecture: str
    way: str
    size: str
    error: str
    points: int
    fit: power_law.PowerLaw | None
    reason: str | None = None


def fit_all(
    frame: pd.DataFrame,
    score: str | None = None,
    size: str = alphas.PARAMS,
    mixed: Sequence[str] = (),
) -> list[Law]:
    """Fits equation 1 both ways for every architecture.

    Args:
        frame: a frame of runs.
        score: column of the score, in percent; by default `alphas.score_column`.
        size: column of N.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Returns:
        The laws, upstream before downstream, which is left out without a score.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    score = score or alphas.score_column(frame)
    names = [points_lib.LOSS, size, *([score] if score else [])]
    found = points_lib.of_frame(frame, names)
    laws = []
    for architecture in found.architectures:
        laws.append(_law(found, architecture, UPSTREAM, size, points_lib.LOSS))
        if score:
            laws.append(_law(found, architecture, DOWNSTREAM, size, score))
    return laws


def _law(
    found: points_lib.Points, architecture: str, way: str, size: str, column: str
) -> Law:
    points = found.of(architecture, size, column)
    n = [point.values[size].mean for point in points]
    value = [point.values[column].mean for point in points]
    error = value if way == UPSTREAM else [1 - score / 100 for score in value]
    label = "loss" if way == UPSTREAM else column
    try:
        fit = power_law.fit_power_law(n, error)
    except fit_errors.FitError as reason:
        return Law(architecture, way, size, label, len(points), None, str(reason))
    return Law(architecture, way, size, label, len(points), fit)
