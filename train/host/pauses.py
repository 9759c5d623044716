"""Finds the times in which a process stood still: SIGSTOP, a laptop asleep.

A thread that looks at the clock a few times a second is late by the pause, in which the
process had no processor time. A thread that is late because others compute has some.
"""

from collections.abc import Callable
import threading
import time

INTERVAL_SECONDS = 0.25
# Shorter ones are no more than a busy machine makes.
LEAST_SECONDS = 2.0
# A process that had this part of one core was not paused.
_AWAKE = 0.1


def _elapsed() -> float:
    """Seconds since the machine's start, its sleep included where the kernel says."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class PauseWatch:
    """Gathers the pauses of this process while `start`ed.

    Attributes:
        seconds: of all pauses so far, the machine's sleep included.
        count: how many there were.
    """

    def __init__(
        self,
        elapsed: Callable[[], float] = _elapsed,
        processor: Callable[[], float] = time.process_time,
    ):
        """Prepares; the clocks are a test's.

        Args:
            elapsed: seconds, those of a sleep included.
            processor: seconds of processor time of this process.
        """
        self._elapsed, self._processor = elapsed, processor
        self.seconds = 0.0
        self.count = 0
        self._lock = threading.Lock()
        self._last = (elapsed(), processor())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pauses", daemon=True)

    def start(self) -> None:
        """Starts to look at the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Ends that."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Notes a pause, if there was one since the last look."""
        with self._lock:
            now = (self._elapsed(), self._processor())
            gap, worked = (new - old for new, old in zip(now, self._last, strict=True))
            self._last = now
            if gap >= LEAST_SECONDS and worked < _AWAKE * gap:
                # It ran on for a part of the interval.
                self.seconds += gap - INTERVAL_SECONDS
                self.count += 1

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.look()
