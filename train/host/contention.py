"""Whether other processes held the processor while this one wanted it."""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
import time

_THREADS = pathlib.Path("/proc/self/task")


class Contention:
    """Sums the seconds that this process lost to others on its cores.

    Linux counts for each thread how long it was ready to run and did not. Threads of
    one process wait for each other, too; what is lost to others is at most the time
    that this process did not have on its cores.

    Attributes:
        lost: seconds lost in intervals that count.
        wanted: seconds that it would have run in them, at least their length.
    """

    def __init__(
        self,
        *,
        waited: Callable[[], float | None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
        num_cores: int | None = None,
    ):
        """Starts the first interval.

        Args:
            waited: seconds for which threads were ready and waited, so far; None where
                the system does not tell.
            clock: seconds.
            processor_clock: seconds of this process on all cores.
            num_cores: that it may use.
        """
        self._waited = waited or _Waits().total
        self._clock, self._processor_clock = clock, processor_clock
        self._num_cores = num_cores or _num_cores()
        self.lost = self.wanted = 0.0
        self._last = self._now()

    @property
    def sums(self) -> dict[str, float]:
        """What `add_earlier` of a later process takes."""
        return {"lost": self.lost, "wanted": self.wanted}

    def add_earlier(self, sums: Mapping[str, float]) -> None:
        """Adds the sums of the processes before this one."""
        self.lost += sums.get("lost", 0.0)
        self.wanted += sums.get("wanted", 0.0)

    @property
    def fraction(self) -> float | None:
        """The part lost of what was wanted; None before an interval, or not told."""
        return self.lost / self.wanted if self.wanted else None

    def interval_done(self, counts: bool) -> None:
        """Ends an interval and starts the next."""
        before, self._last = self._last, self._now()
        length, ran, waited = (
            None if None in (new, old) else new - old
            for new, old in zip(self._last, before)
        )
        if counts and waited is not None:
            lost = max(0.0, min(waited, self._num_cores * length - ran))
            self.lost += lost
            self.wanted += max(length, ran + lost)

    def _now(self) -> tuple[float, float, float | None]:
        return self._clock(), self._processor_clock(), self._waited()


class _Waits:
    """Adds up what the kernel tells of each thread, also of those that have ended."""

    def __init__(self) -> None:
        self._by_thread: dict[str, int] = {}
        self._total = 0

    def total(self) -> float | None:
        """Seconds that this process's threads waited for a core, since the first call.

        None where the kernel does not tell.
        """
        now = {}
        try:
            for name in os.listdir(_THREADS):
                try:
                    # Nanoseconds run, nanoseconds waited, times put on a core.
                    text = (_THREADS / name / "schedstat").read_text(encoding="ascii")
                except (FileNotFoundError, ProcessLookupError):
                    if not (_THREADS / name).exists():
                        continue  # It ended.
                    return None
                now[name] = int(text.split()[1])
        except (OSError, ValueError, IndexError):
            return None
        for name, waited in now.items():
            before = self._by_thread.get(name, 0)
            self._total += waited - (before if waited >= before else 0)
        self._by_thread = now
        return self._total / 1e9


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
