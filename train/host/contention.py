"""Measures the CPU time that a process lost to other processes."""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
import time

from clinometer.train.host import intervals

_THREADS = pathlib.Path("/proc/self/task")


class Contention:
    """Sums the CPU seconds that this process lost to other processes.

    Linux counts for each thread how long it was runnable but waiting for a core. Since
    the threads of one process also wait for each other, the time lost to others is
    limited to the core time that this process did not use.

    Attributes:
        lost: CPU seconds lost in the counted intervals.
        wanted: CPU seconds that the process would have used in them, at least their
            length.
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
            waited: returns the total seconds that threads of this process have waited
                for a core, or None if the system does not report it.
            clock: returns the wall time in seconds.
            processor_clock: returns the CPU time of this process in seconds, over all
                cores.
            num_cores: number of cores that this process may use; None to ask the
                system.
        """
        self._num_cores = num_cores or _num_cores()
        self.lost = self.wanted = 0.0
        self._intervals = intervals.Intervals(
            waited or _Waits().total, clock, processor_clock
        )

    @property
    def sums(self) -> dict[str, float]:
        """The sums, for `add_earlier` in the process that resumes the run."""
        return {"lost": self.lost, "wanted": self.wanted}

    def add_earlier(self, sums: Mapping[str, float]) -> None:
        """Adds the sums of earlier processes of the run."""
        self.lost += sums.get("lost", 0.0)
        self.wanted += sums.get("wanted", 0.0)

    @property
    def fraction(self) -> float | None:
        """Fraction `lost / wanted`, or None if no interval has been measured."""
        return self.lost / self.wanted if self.wanted else None

    def interval_done(self, counts: bool) -> None:
        """Ends an interval and starts the next.

        Args:
            counts: whether the ended interval is added to the sums.
        """
        length, ran, waited = self._intervals.next()
        if counts and waited is not None:
            lost = max(0.0, min(waited, self._num_cores * length - ran))
            self.lost += lost
            self.wanted += max(length, ran + lost)


class _Waits:
    """Sums the kernel's wait times of all threads, including ended ones."""

    def __init__(self) -> None:
        self._by_thread: dict[str, int] = {}
        self._total = 0

    def total(self) -> float | None:
        """Returns the seconds that the threads of this process have waited for a core.

        Returns None if the kernel does not report it.
        """
        now = {}
        try:
            for name in os.listdir(_THREADS):
                try:
                    # Nanoseconds run, nanoseconds waited, number of time slices.
                    text = (_THREADS / name / "schedstat").read_text(encoding="ascii")
                except (FileNotFoundError, ProcessLookupError):
                    if not (_THREADS / name).exists():
                        continue  # The thread has ended.
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
