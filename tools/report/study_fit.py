"""From the table of runs to the fitted model that all intervals come from."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np

from clinometer.tools.fit import comparable
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors
from clinometer.tools.inference import linear_model
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection

# Columns that a run needs to stand in a cell.
_NEEDED = ("d_model", "training_flops")


@dataclasses.dataclass(frozen=True, eq=False)
class StudyFit:
    """What the runs say about the mean loss of each size.

    Attributes:
        design: which runs there are; None if they form no design.
        losses: of the design's runs, nats, [n].
        means: means of the cells, nats, [C]; at the average of their orders if there is
            a fitted model, else plain.
        fitted: the model; None if the error between runs is unknown.
        reason: why there is no design or no fitted model; else None.
        cell_of_run: name of a run -> index of its cell.
        left_out: name of a run that a fit may use -> why it is in no cell.
    """

    design: design_lib.Design | None
    losses: np.ndarray
    means: np.ndarray
    fitted: linear_model.Fit | None
    reason: str | None
    cell_of_run: Mapping[str, int]
    left_out: Mapping[str, str]


def of_rows(rows: Sequence[rows_lib.Row], mixed: Sequence[str] = ()) -> StudyFit:
    """Fits the model to the runs of a study.

    Args:
        rows: rows of the table of runs, finished or not.
        mixed: columns of `fit/comparable.py` in which the runs may differ. Where they
            do, there is no design: their cells would hold several conditions.

    Raises:
        FitError: the runs differ in another condition; the message names it and the
            runs.
    """
    used = selection.usable(rows)
    comparable.check_comparable(used, mixed)
    scopes = (comparable.Scope.ALL, comparable.Scope.MODEL)
    for difference in comparable.differences(used, scopes):
        return _without_design(f"the runs differ in {difference}")
    left_out = {row["run"]: why for row in used if (why := _why_in_no_cell(row))}
    used = [row for row in used if row["run"] not in left_out]
    try:
        design, losses = design_lib.from_runs([as_run(row) for row in used])
    except errors.InferenceError as error:
        return _without_design(str(error), left_out)
    fitted, reason = None, None
    means = losses @ design.cell_membership / design.counts
    try:
        fitted = linear_model.fit(design, losses)
        means = fitted.means
    except errors.InferenceError as error:
        reason = str(error)
    names = [row["run"] for row in used]
    cell_of_run = dict(zip(names, map(int, design.cell_of_run)))
    return StudyFit(design, losses, means, fitted, reason, cell_of_run, left_out)


def _without_design(reason: str, left_out: Mapping[str, str] | None = None) -> StudyFit:
    none = np.zeros(0)
    return StudyFit(None, none, none, None, reason, {}, left_out or {})


def _why_in_no_cell(row: rows_lib.Row) -> str | None:
    missing = [column for column in _NEEDED if not row[column]]
    return f"its record lacks {', '.join(missing)}" if missing else None


def as_run(row: rows_lib.Row) -> design_lib.Run:
    """Returns a finished run as inference needs it."""
    return design_lib.Run(
        name=row["run"],
        architecture=row["architecture"],
        width=row["d_model"],
        # Records without an order are of versions that had one order for all runs.
        order=str(row["data_order"] or 0),
        initialisation=str(row["seed"]),
        flops=row["training_flops"],
        loss=row["validation_loss_nats"],
        size=row["size"],
    )
