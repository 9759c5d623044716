"""Measures consecutive intervals of the wall clock, the CPU clock and a counter."""

from collections.abc import Callable
import time


class Intervals:
    """Differences of three clocks between consecutive calls."""

    def __init__(
        self,
        counter: Callable[[], float | None],
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
    ):
        """Starts the first interval.

        Args:
            counter: returns a sum of seconds that only grows, or None if the system
                does not report it.
            clock: returns the wall time in seconds.
            processor_clock: returns the CPU time of this process in seconds, over all
                cores.
        """
        self._counter = counter
        self._clock, self._processor_clock = clock, processor_clock
        self._last = self._now()

    def next(self) -> tuple[float, float, float | None]:
        """Ends an interval and starts the next.

        Returns:
            Wall seconds, CPU seconds of this process, and the growth of the counter in
            seconds, which is None if either of its ends is.
        """
        before, self._last = self._last, self._now()
        length, ran, grown = (
            None if None in (new, old) else new - old
            for new, old in zip(self._last, before)
        )
        return length, ran, grown

    def _now(self) -> tuple[float, float, float | None]:
        return self._clock(), self._processor_clock(), self._counter()
