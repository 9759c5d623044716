"""Tables as values, which `templates/macros.html` renders."""

from collections.abc import Sequence
import dataclasses

from clinometer.tools.report import theme


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        shown: the text that is shown.
        value: the value it sorts by; "" sorts last.
        tag: whether it is shown as a flag, in red.
        wrap: whether the text may wrap.
        error: shown after the text, paler, such as an interval.
        strong: whether the text is bold.
        share: a percentage, by which the cell is shaded; None for none.
    """

    shown: str
    value: float | str = ""
    tag: bool = False
    wrap: bool = False
    error: str = ""
    strong: bool = False
    share: float | None = None

    @property
    def key(self) -> str:
        """What it sorts by, in a few digits."""
        return f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)


@dataclasses.dataclass(frozen=True)
class Head:
    """The heading of a column.

    Attributes:
        title: its text.
        unit: below it, paler.
        is_text: whether the column is aligned to the left.
    """

    title: str
    unit: str
    is_text: bool


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        name: short name, unique on its page; that of its CSV if it can be saved.
        label: what it is, for readers who cannot see it.
        heads: the headings.
        body: one sequence of cells per row.
        archs: the architecture of each row, "" where a row has none.
        sortable: whether the headings are buttons that sort it.
        filtered: whether a field above it filters its rows by text.
    """

    name: str
    label: str
    heads: tuple[Head, ...]
    body: tuple[tuple[Cell, ...], ...]
    archs: tuple[str, ...]
    sortable: bool
    filtered: bool


def text(value: object, **more: bool) -> Cell:
    """Returns a cell of plain text that sorts by its text."""
    return Cell(str(value), str(value), **more)


def architecture(name: str) -> Cell:
    """Returns a cell with an architecture's name for readers; files have its own."""
    return Cell(theme.label(name), name)


def make(
    name: str,
    label: str,
    heads: Sequence[str | tuple[str, str]],
    body: Sequence[Sequence[Cell]],
    *,
    text_columns: Sequence[int] = (0,),
    archs: Sequence[str] | None = None,
    sortable: bool = False,
    filtered: bool = False,
) -> Grid:
    """Returns a table.

    Args:
        name: short name, unique on its page.
        label: what it is.
        heads: headings, or pairs of a heading and its unit.
        body: one sequence of cells per row.
        text_columns: indices of the columns that are aligned to the left.
        archs: the architecture of each row, if rows have one.
        sortable: whether the headings are buttons that sort it.
        filtered: whether a field above it filters its rows.
    """
    pairs = [(head, "") if isinstance(head, str) else head for head in heads]
    return Grid(
        name=name,
        label=label,
        heads=tuple(Head(*pair, i in text_columns) for i, pair in enumerate(pairs)),
        body=tuple(tuple(row) for row in body),
        archs=tuple(archs) if archs is not None else ("",) * len(body),
        sortable=sortable,
        filtered=filtered,
    )


def key(value: float | None) -> float | str:
    """Returns what a number that may be unknown sorts by."""
    return "" if value is None else value
