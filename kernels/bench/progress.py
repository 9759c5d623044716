"""A line on standard error that says what goes on, and is written over."""

import sys
import time


class Line:
    """One line that is written over on a terminal; elsewhere whole lines, now and then.

    Args:
        seconds: between two lines where there is no terminal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._live = sys.stderr.isatty()
        self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Shows what goes on now."""
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last > self._seconds:
            self.note(text)

    def note(self, text: str) -> None:
        """Writes a line that stays."""
        self.clear()
        print(text, file=sys.stderr, flush=True)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Takes the line away, for others to write."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
