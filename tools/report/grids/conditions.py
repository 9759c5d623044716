"""The table of the conditions of runs, and where they differ."""

from collections.abc import Sequence

from clinometer.tools.fit import comparable
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report.grids import grid


def keys(rows: Sequence[rows_lib.Row]) -> list[str]:
    """Returns the comparability keys of the runs that stand in fits."""
    return sorted({row["comparability_key"] for row in selection.usable(rows)})


def make(rows: Sequence[rows_lib.Row]) -> grid.Grid:
    """Returns the conditions of the runs that stand in fits.

    Args:
        rows: rows of the table of runs, finished or not.
    """
    done = selection.usable(rows)
    body = []
    for field in comparable.FIELDS:
        values = dict.fromkeys(row[field.column] for row in done)
        shown = "; ".join("none" if v is None else str(v) or "none" for v in values)
        differ = len(values) > 1 and field.scope is not comparable.Scope.MODEL
        body.append(
            (
                grid.text(field.words),
                grid.text(field.column),
                grid.text(field.scope.value),
                grid.Cell(shown, shown, wrap=True),
                grid.Cell("differs" if differ else "", tag=True),
            )
        )
    heads = ("condition", "column", "must be equal for", "value", "")
    label = "Conditions of the runs that stand in fits"
    return grid.make("conditions", label, heads, body, text_columns=range(5))
