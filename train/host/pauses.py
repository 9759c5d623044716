"""Detects pauses of the process, caused by SIGSTOP or by system sleep.

A thread checks the clock a few times per second. After a pause, the check is late and
the process has used almost no CPU time since the previous one. On a busy machine, a
check may be late too, but the process has used CPU time.
"""

from collections.abc import Callable
import threading
import time

INTERVAL_SECONDS = 0.25
# Shorter gaps also occur on a busy machine.
LEAST_SECONDS = 2.0
# A process that used at least this fraction of one core was not paused.
_AWAKE = 0.1


def _elapsed() -> float:
    """Returns the seconds since boot, including sleep if the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class PauseWatch:
    """Counts and measures the pauses of this process between `start` and `stop`.

    Attributes:
        seconds: total length of the pauses so far, including system sleep.
        count: number of pauses so far.
    """

    def __init__(
        self,
        elapsed: Callable[[], float] = _elapsed,
        processor: Callable[[], float] = time.process_time,
    ):
        """Prepares the thread; the clocks can be replaced in tests.

        Args:
            elapsed: returns the wall time in seconds, including system sleep.
            processor: returns the CPU time of this process in seconds.
        """
        self._elapsed, self._processor = elapsed, processor
        self.seconds = 0.0
        self.count = 0
        self._lock = threading.Lock()
        self._last = (elapsed(), processor())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pauses", daemon=True)

    def start(self) -> None:
        """Starts the thread; waiting before this, as for a lease, is no pause."""
        with self._lock:
            self._last = (self._elapsed(), self._processor())
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Checks the clock and records any pause since the last call."""
        with self._lock:
            now = (self._elapsed(), self._processor())
            gap, worked = (new - old for new, old in zip(now, self._last, strict=True))
            self._last = now
            if gap >= LEAST_SECONDS and worked < _AWAKE * gap:
                # The process was running for a part of the gap.
                self.seconds += gap - INTERVAL_SECONDS
                self.count += 1

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.look()
