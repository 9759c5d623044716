"""HTML tables from cells that know what they show and how they sort."""

from collections.abc import Sequence
import dataclasses
import html


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value it sorts by ("" sorts last)."""

    shown: str
    value: float | str = ""
    tag: bool = False  # Shown as a marked label.
    wrap: bool = False  # A remark: may break into lines.

    def render(self, is_text: bool) -> str:
        """The <td>; all text is escaped."""
        shown = html.escape(self.shown)
        if self.tag and shown:
            shown = f'<span class="tag">{shown}</span>'
        names = [n for n, on in (("text", is_text), ("wrap", self.wrap)) if on]
        text = f' class="{" ".join(names)}"' if names else ""
        return f'<td{text} data-value="{html.escape(str(self.value))}">{shown}</td>'


def text(value: object) -> Cell:
    """A cell of plain text, sorted as such."""
    return Cell(str(value), str(value))


def table(
    heads: Sequence[str],
    body: Sequence[Sequence[Cell]],
    *,
    text_columns: Sequence[int] = (0,),
    sortable: bool = False,
) -> str:
    """A table that scrolls sideways by itself on a narrow screen.

    Args:
      heads: plain text of the headings.
      body: one sequence of cells per row.
      text_columns: indices of columns aligned to the left.
      sortable: headings become buttons for the page's script.
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
