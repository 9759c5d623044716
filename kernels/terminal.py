"""What commands show in a terminal, by `rich`: lines drawn over, and tables.

Where there is no terminal, lines are plain and none is drawn over.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import io
import sys
import time
from typing import TextIO

from rich import console as rich_console
from rich import live as rich_live
from rich import table as rich_table
from rich import text as rich_text

_UNLIMITED = 1 << 16  # Columns: a table is as wide as what is in it.


class Line:
    """What goes on now: drawn over on a terminal; elsewhere whole lines, now and then.

    Leaving its context clears it.

    Attributes:
        on_terminal: whether it is drawn over.
    """

    def __init__(self, seconds: float, stream: TextIO | None = None) -> None:
        """Shows nothing yet.

        Args:
            seconds: between two lines of `say` where there is no terminal.
            stream: where to write; None => standard error.
        """
        self._seconds = seconds
        self._stream = sys.stderr if stream is None else stream
        self._console = rich_console.Console(
            file=self._stream, force_terminal=self._stream.isatty(), soft_wrap=True
        )
        self.on_terminal = self._console.is_terminal and (
            not self._console.is_dumb_terminal
        )
        self._live: rich_live.Live | None = None
        self._last = time.monotonic()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *unused: object) -> None:
        self.clear()

    def say(self, text: str) -> None:
        """Shows what goes on; without a terminal, if the last line is old enough."""
        if self.on_terminal or time.monotonic() - self._last > self._seconds:
            self.draw(text)

    def draw(self, *lines: str) -> None:
        """Shows what goes on; several lines are one where there is no terminal."""
        if not self.on_terminal:
            self.note("; ".join(lines))
            return
        text = rich_text.Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
        if self._live is None:
            # No thread of its own: what is measured meanwhile has the cores.
            self._live = rich_live.Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            self._console.show_cursor()  # A killed process would leave it hidden.
        self._live.update(text, refresh=True)

    def note(self, text: str) -> None:
        """Writes a line that stays, above what is drawn over."""
        if self._live is not None:
            self._console.print(rich_text.Text(text))
        else:
            print(text, file=self._stream, flush=True)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Takes away what is drawn, for others to write."""
        self._stop(keep=False)

    def close(self) -> None:
        """Ends what is drawn, which stays."""
        self._stop(keep=True)

    def _stop(self, keep: bool) -> None:
        if self._live is not None:
            self._live.transient = not keep
            self._live.stop()
            self._live = None


def table(
    rows: Iterable[Sequence[str]],
    head: Sequence[str] | None = None,
    *,
    left: Collection[int] = (0,),
    widths: Sequence[int] = (),
    stream: TextIO | None = None,
) -> list[str]:
    """Returns the lines of a table; its columns stand two blanks apart.

    Args:
        rows: their cells.
        head: of the columns; bold on a terminal.
        left: columns that are aligned to the left; the others are to the right.
        widths: least widths of the first columns, so that several tables match.
        stream: where the lines will be written; None => standard output.
    """
    rows = list(rows)
    made = rich_table.Table(
        box=None, pad_edge=False, show_header=head is not None, header_style="bold"
    )
    for place, name in enumerate(head or rows[0]):
        made.add_column(
            rich_text.Text(name if head else ""),
            justify="left" if place in left else "right",
            min_width=widths[place] if place < len(widths) else None,
            no_wrap=True,
        )
    for row in rows:
        made.add_row(*map(rich_text.Text, row))
    console = rich_console.Console(
        file=io.StringIO(),
        force_terminal=(sys.stdout if stream is None else stream).isatty(),
        width=_UNLIMITED,
    )
    console.print(made)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]
