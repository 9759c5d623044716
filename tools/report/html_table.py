"""Renders HTML tables, optionally with sortable columns."""

from collections.abc import Sequence
import dataclasses
import html


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        shown: the text that is shown.
        value: the value it sorts by; "" sorts last.
        tag: whether it is shown as a label.
        wrap: whether the text may wrap.
    """

    shown: str
    value: float | str = ""
    tag: bool = False
    wrap: bool = False

    def render(self, is_text: bool) -> str:
        """Returns the <td> element with escaped text, left-aligned if `is_text`."""
        shown = html.escape(self.shown)
        if self.tag and shown:
            shown = f'<span class="tag">{shown}</span>'
        names = [n for n, on in (("text", is_text), ("wrap", self.wrap)) if on]
        text = f' class="{" ".join(names)}"' if names else ""
        return f'<td{text} data-value="{html.escape(str(self.value))}">{shown}</td>'


def text(value: object) -> Cell:
    """Returns a cell of plain text that sorts by its text."""
    return Cell(str(value), str(value))


def table(
    heads: Sequence[str],
    body: Sequence[Sequence[Cell]],
    *,
    text_columns: Sequence[int] = (0,),
    sortable: bool = False,
) -> str:
    """Returns the HTML of a table, which scrolls horizontally on narrow screens.

    Args:
        heads: headings, as plain text.
        body: one sequence of cells per row.
        text_columns: indices of the left-aligned columns.
        sortable: whether the headings are buttons that sort the table.
    """
    cells = []
    for i, head in enumerate(heads):
        shown = html.escape(head)
        if sortable:
            shown = f'<button type="button">{shown}</button>'
        is_text = ' class="text"' if i in text_columns else ""
        cells.append(f'<th scope="col"{is_text}>{shown}</th>')
    lines = [
        "<tr>"
        + "".join(c.render(i in text_columns) for i, c in enumerate(row))
        + "</tr>"
        for row in body
    ]
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll"><table{kind}>\n<thead><tr>{"".join(cells)}</tr></thead>\n'
        "<tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )
