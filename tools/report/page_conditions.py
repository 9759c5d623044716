"""Renders the conditions of the runs, and where they differ."""

from collections.abc import Sequence

from clinometer.tools.fit import comparable
from clinometer.tools.report import html_table
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection

_NOTE = (
    '<p class="note">Runs may be compared if they agree in the conditions that concern '
    "them; the report refuses others, unless they were asked for with "
    "<code>--mixed</code>. A run's key is a hash of the conditions of all runs.</p>"
)


def render(rows: Sequence[rows_lib.Row]) -> str:
    """Renders a table of the conditions of the runs that stand in fits.

    Args:
        rows: rows of the table of runs, finished or not.
    """
    done = selection.usable(rows)
    keys = ", ".join(sorted({row["comparability_key"] for row in done}))
    body = []
    for field in comparable.FIELDS:
        values = dict.fromkeys(row[field.column] for row in done)
        shown = "; ".join("none" if v is None else str(v) or "none" for v in values)
        differ = len(values) > 1 and field.scope is not comparable.Scope.MODEL
        body.append(
            (
                html_table.text(field.words),
                html_table.text(field.column),
                html_table.text(field.scope.value),
                html_table.Cell(shown, shown, wrap=True),
                html_table.Cell("differs" if differ else "", tag=True),
            )
        )
    heads = ("condition", "column", "must be equal for", "value", "")
    table = html_table.table(heads, body, text_columns=range(5))
    return (
        f'{_NOTE}<p class="note">Key: {keys or "none"}</p>'
        f"<details><summary>All conditions</summary>{table}</details>"
    )
