"""Progress reports with rate and remaining time, for terminals and log files."""

import contextlib
import sys
import time
from typing import TextIO

from rich import console as rich_console
from rich import live as rich_live
from rich import text as rich_text

_TERMINAL_SECONDS = 0.2
_PLAIN_SECONDS = 10.0


class Progress:
    """Reports the progress of a long job, as a context manager.

    On a terminal, one line is redrawn, and removed on exit. Elsewhere, such as in log
    files, a new line is printed at most every 10 seconds.

    Args:
        label: name of the job.
        total: amount of work, in any unit; None => unknown, and no remaining time is
            shown.
        unit: what is counted in the report, such as "tokens".
        stream: where to write; None => standard error.
    """

    def __init__(
        self,
        label: str,
        total: float | None = None,
        unit: str = "tokens",
        stream: TextIO | None = None,
    ):
        self._label, self._total, self._unit = label, total, unit
        # Standard error is None in a process that was started without one.
        self._stream = sys.stderr if stream is None else stream
        self._console = self._live = None
        if self._stream is not None and self._stream.isatty():
            self._console = rich_console.Console(
                file=self._stream, force_terminal=True, soft_wrap=True
            )
            if self._console.is_dumb_terminal:
                self._console = None
        self._start = self._shown = time.monotonic()
        self._first_done = None  # work done by an earlier run, excluded from the rate

    def update(self, done: float, amount: float) -> None:
        """Reports progress.

        Args:
            done: work done so far, in the unit of `total`.
            amount: number of `unit` processed so far.
        """
        now = time.monotonic()
        if self._first_done is None:
            self._first_done = (done, amount)
        interval = _TERMINAL_SECONDS if self._console else _PLAIN_SECONDS
        if now - self._shown >= interval:
            self._shown = now
            text = self._text(done, amount, now)
            if self._console:
                self._draw(text)
            else:
                self._write(text)

    def finish(self, summary: str) -> None:
        """Replaces the progress line with a summary and the elapsed time."""
        self.close()
        seconds = time.monotonic() - self._start
        self._write(f"{self._label}: {summary} in {seconds:.1f} s")

    def message(self, text: str) -> None:
        """Writes a line of text above the progress line."""
        self._write(text)

    def close(self) -> None:
        """Removes the progress line."""
        with contextlib.suppress(OSError):  # As in `_write`.
            if self._live is not None:
                self._live.stop()
                self._live = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _text(self, done: float, amount: float, now: float) -> str:
        seconds = max(now - self._start, 1e-9)
        first_done, first_amount = self._first_done
        rate = (amount - first_amount) / seconds
        text = f"{self._label}: {amount:,.0f} {self._unit}, {rate:,.0f}/s"
        if self._total and done > first_done:
            left = seconds * (self._total - done) / (done - first_done)
            text += f", {100 * done / self._total:.0f} %, {max(left, 0):.0f} s left"
        return text

    def _draw(self, text: str) -> None:
        """Redraws the progress line."""
        line = rich_text.Text(text, no_wrap=True, overflow="ellipsis")
        with contextlib.suppress(OSError):  # As in `_write`.
            if self._live is None:
                self._live = rich_live.Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()
                self._console.show_cursor()  # Else a killed process leaves it hidden.
            self._live.update(line, refresh=True)

    def _write(self, text: str) -> None:
        """Writes a permanent line, above the progress line."""
        # The job continues if the pipe is closed (`2>&1 | head`) or the disk is full.
        with contextlib.suppress(OSError):
            if self._live is not None:
                self._console.print(rich_text.Text(text))
            elif self._stream is not None:
                print(text, file=self._stream, flush=True)
