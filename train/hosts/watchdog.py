"""Notices that no train step ends any more, as when another process hangs."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import statistics
import threading
import time

MEDIANS = 20
_LOOKS = 100  # Per limit.
_MOST_INTERVAL = 1.0  # Seconds between looks.
_KEPT = 101  # Durations of steps that the median is of.


class Watchdog:
    """A context in which a thread watches that steps end.

    Only the time in which this process runs counts: a long gap between two looks of the
    thread, as after SIGSTOP or system sleep, counts as two intervals.
    """

    def __init__(
        self,
        step_seconds: float,
        other_seconds: float,
        on_stuck: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepares the thread.

        Args:
            step_seconds: limit for a step, unless `MEDIANS` times the median of the
                last steps is larger.
            other_seconds: limit for all else, such as compilation, the first step, an
                evaluation or a checkpoint.
            on_stuck: called once with a sentence, in the thread.
            clock: returns the time in seconds; can be replaced in tests.
        """
        self._step_seconds, self._other_seconds = step_seconds, other_seconds
        self._on_stuck, self._clock = on_stuck, clock
        shortest = min(step_seconds, other_seconds)
        self._interval = min(_MOST_INTERVAL, shortest / _LOOKS)
        self._lock = threading.Lock()
        self._last = clock()
        self._waited = 0.0
        self._doing = ["the start of the run"]
        self._steps = -1  # Since the start or the last `other`; -1 before the first.
        self._durations: collections.deque[float] = collections.deque(maxlen=_KEPT)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join()

    def step_done(self) -> None:
        """Says that a step has ended."""
        with self._lock:
            if self._steps > 0:
                self._durations.append(self._waited)
            elif self._steps < 0:
                self._doing.pop(0)
            self._steps = max(self._steps, 0) + 1
            self._waited = 0.0

    @contextlib.contextmanager
    def other(self, doing: str) -> Iterator[None]:
        """Allows `other_seconds` inside the context.

        Args:
            doing: what is done there, for the message, such as "the evaluation".
        """
        with self._lock:
            self._doing.append(doing)
            self._waited = 0.0
        try:
            yield
        finally:
            with self._lock:
                self._doing.pop()
                self._steps = min(self._steps, 0)
                self._waited = 0.0

    def look(self) -> str | None:
        """Looks at the clock; returns a sentence if the limit has passed."""
        with self._lock:
            now = self._clock()
            self._waited += min(now - self._last, 2 * self._interval)
            self._last = now
            if self._doing:
                what, limit = self._doing[-1], self._other_seconds
            else:
                what, limit = "a train step", self._step_seconds
                if self._durations:
                    median = statistics.median(self._durations)
                    limit = max(limit, MEDIANS * median)
            if self._waited <= limit:
                return None
        return f"{what} did not end within {limit:g} s"

    def _run(self) -> None:
        while not self._end.wait(self._interval):
            problem = self.look()
            if problem is not None:
                self._on_stuck(problem)
                return
