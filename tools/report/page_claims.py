"""Renders the claims of a study with their verdicts."""

from collections.abc import Sequence

from clinometer.tools.report import html_table
from clinometer.tools.study.claims import verdicts

# Said of a study without claims.
DEMONSTRATION = (
    "No claims were written down before the runs, so this is a demonstration. "
    "Intervals cover other initializations of these models in the same orders of the "
    "data: not another text, protocol or number of steps, and not the choice of the "
    "learning rates."
)
_NOTE = (
    '<p class="note">Written down before the runs: the record of each run holds the '
    "hash of this file of claims. They are judged by the complete passes of the "
    "study.</p>"
)


def render(claims: Sequence[verdicts.Judged]) -> str:
    """Renders the table of claims; a note if there are none."""
    if not claims:
        return f'<p class="note">{DEMONSTRATION}</p>'
    body = [
        (
            html_table.Cell(one.claim.statement, wrap=True),
            html_table.Cell(one.verdict.outcome.value, tag=not one.supported),
            html_table.Cell(one.numbers, wrap=True),
            html_table.Cell(one.verdict.reason, wrap=True),
        )
        for one in claims
    ]
    heads = ("claim", "verdict", "numbers", "reason")
    table = html_table.table(heads, body, text_columns=range(4))
    return f"<section>\n<h2>Claims</h2>\n{_NOTE}{table}\n</section>"
