"""A progress line with rate and time left; plain lines where there is no terminal."""

import contextlib
import sys
import time
from typing import TextIO

_TERMINAL_SECONDS = 0.2
_PLAIN_SECONDS = 10.0


class Progress:
    """Reports how far a long job is.

    Args:
      label: what is done.
      total: amount of work, in any unit; None => unknown, no time left is shown.
      unit: unit of the rate, a word.
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
        self._terminal = self._stream is not None and self._stream.isatty()
        self._start = self._shown = time.monotonic()
        self._first_done = None  # work done before the first update: not our speed

    def update(self, done: float, amount: float) -> None:
        """Says that `done` of `total` is done, which made `amount` units."""
        now = time.monotonic()
        if self._first_done is None:
            self._first_done = (done, amount)
        interval = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        if now - self._shown >= interval:
            self._shown = now
            self._write(self._text(done, amount, now), final=False)

    def finish(self, summary: str) -> None:
        """Replaces the line by a last one."""
        seconds = time.monotonic() - self._start
        self._write(f"{self._label}: {summary} in {seconds:.1f} s", final=True)

    def message(self, text: str) -> None:
        """Writes a line of its own."""
        self._write(text, final=True)

    def _text(self, done: float, amount: float, now: float) -> str:
        seconds = max(now - self._start, 1e-9)
        first_done, first_amount = self._first_done
        rate = (amount - first_amount) / seconds
        text = f"{self._label}: {amount:,.0f} {self._unit}, {rate:,.0f}/s"
        if self._total and done > first_done:
            left = seconds * (self._total - done) / (done - first_done)
            text += f", {100 * done / self._total:.0f} %, {max(left, 0):.0f} s left"
        return text

    def _write(self, text: str, final: bool) -> None:
        if self._terminal:
            text = f"\r\x1b[K{text}" + ("\n" if final else "")
        else:
            text += "\n"
        # Its reader may have left (`2>&1 | head`), its disk be full; the job goes on.
        with contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
