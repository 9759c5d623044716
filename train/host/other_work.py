"""Measures how many cores of the host other processes keep busy.

`contention.py` sees work that takes cores from this process. Work on the other cores
slows it as well, through the shared memory bandwidth, caches and clock rate.
"""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
import time

from clinometer.train.host import intervals

_STAT = pathlib.Path("/proc/stat")
# Fields of the first line: user nice system idle iowait irq softirq steal.
_IDLE = (3, 4)
_FIELDS = 8


class OtherWork:
    """Sums the CPU seconds of all other processes of the host.

    Attributes:
        used: CPU seconds of other processes in the counted intervals.
        seconds: wall seconds of these intervals.
    """

    def __init__(
        self,
        *,
        busy: Callable[[], float | None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
    ):
        """Starts the first interval.

        Args:
            busy: returns the CPU seconds of all processes of the host since its start,
                or None if the system does not report them.
            clock: returns the wall time in seconds.
            processor_clock: returns the CPU time of this process in seconds.
        """
        self.used = self.seconds = 0.0
        self._intervals = intervals.Intervals(busy or _busy, clock, processor_clock)

    @property
    def sums(self) -> dict[str, float]:
        """The sums, for `add_earlier` in the process that resumes the run."""
        return {"used": self.used, "seconds": self.seconds}

    def add_earlier(self, sums: Mapping[str, float]) -> None:
        """Adds the sums of earlier processes of the run."""
        self.used += sums.get("used", 0.0)
        self.seconds += sums.get("seconds", 0.0)

    @property
    def cores(self) -> float | None:
        """Mean number of cores that others used; None if it was not measured."""
        return self.used / self.seconds if self.seconds else None

    def interval_done(self, counts: bool) -> None:
        """Ends an interval and starts the next.

        Args:
            counts: whether the ended interval is added to the sums.
        """
        length, ran, busy = self._intervals.next()
        if counts and busy is not None:
            self.used += max(0.0, busy - ran)
            self.seconds += length


def _busy() -> float | None:
    try:
        with open(_STAT, encoding="ascii") as file:
            name, *fields = file.readline().split()
        ticks = [int(field) for field in fields[:_FIELDS]]
        unit = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    if name != "cpu" or len(ticks) < _FIELDS:
        return None
    return (sum(ticks) - sum(ticks[i] for i in _IDLE)) / unit
