"""Status lines and tables for commands, drawn with `rich`.

Without a terminal, lines are plain text and are not redrawn.
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

_UNLIMITED = 1 << 16  # Columns: a table is as wide as its contents.


class Line:
    """A status line: redrawn in place on a terminal, elsewhere printed now and then.

    As a context manager, it clears the line on exit.

    Attributes:
        on_terminal: whether the line is redrawn in place.
    """

    def __init__(self, seconds: float, stream: TextIO | None = None) -> None:
        """Creates the line without showing anything.

        Args:
            seconds: least time between two lines of `say` without a terminal.
            stream: where to write; None for standard error.
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
        """Shows a status; without a terminal, at most once every `seconds`."""
        if self.on_terminal or time.monotonic() - self._last > self._seconds:
            self.draw(text)

    def draw(self, *lines: str) -> None:
        """Shows status lines at once; joins them into one line without a terminal."""
        if not self.on_terminal:
            self.note("; ".join(lines))
            return
        text = rich_text.Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
        if self._live is None:
            # No refresh thread, which would take time from what is being measured.
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
        """Writes a permanent line, above the status."""
        if self._live is not None:
            self._console.print(rich_text.Text(text))
        else:
            print(text, file=self._stream, flush=True)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Removes the status, so that others can write."""
        self._stop(keep=False)

    def close(self) -> None:
        """Ends the status and leaves its last text in place."""
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
    """Returns the lines of a table with columns separated by two spaces.

    Args:
        rows: the cells of each row.
        head: column headings, bold on a terminal; None for no heading.
        left: indices of left-aligned columns; the others are right-aligned.
        widths: minimum widths of the first columns, so that several tables line up.
        stream: where the lines will be written; None for standard output.
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
