"""Calls a tracker in a thread, so that it can neither stop nor slow a run."""

from collections.abc import Callable
from collections.abc import Mapping
import logging
import queue
import threading

from clinometer.train.tracking import tracker as tracker_lib

# A record has about a hundred values. A tracker so far behind is taken to hang.
_MOST_WAITING = 1000
# How long the end of a run waits for a tracker, such as for an upload. A run that is
# stopped may be killed soon.
_FINISH_SECONDS = 120.0
_STOP_SECONDS = 10.0


class Isolated:
    """A tracker that is off after its first failure, of which one warning tells."""

    def __init__(
        self,
        name: str,
        make: Callable[[], tracker_lib.Tracker],
        *,
        most_waiting: int = _MOST_WAITING,
        finish_seconds: float = _FINISH_SECONDS,
    ):
        """Starts the thread, which makes the tracker first.

        Args:
            name: name of the tracker, for the warning.
            make: makes the tracker; may raise or hang.
            most_waiting: number of calls that may wait for the tracker.
            finish_seconds: how long `finish` waits for it, at the end of a whole run.
        """
        self._name, self._finish_seconds = name, finish_seconds
        self._calls: queue.Queue[Callable[[tracker_lib.Tracker], None] | None]
        self._calls = queue.Queue(most_waiting)
        self._lock = threading.Lock()
        self._off = False
        # A daemon, so that a tracker that hangs does not keep the process.
        self._thread = threading.Thread(
            target=self._work, args=(make,), name=f"tracker {name}", daemon=True
        )
        self._thread.start()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`; returns at once."""
        self._add(lambda tracker: tracker.scalars(step, values))

    def sync(self) -> None:
        """See `Tracker.sync`; returns at once."""
        self._add(lambda tracker: tracker.sync())

    def finish(self, status: str) -> None:
        """See `Tracker.finish`; waits for a limited time."""
        self._add(lambda tracker: tracker.finish(status))
        self._add(None)
        if self._off:
            return
        most = self._finish_seconds
        if status != "finished":
            most = min(most, _STOP_SECONDS)
        self._thread.join(most)
        if self._thread.is_alive():
            self._fail(f"not done {most:g} s after the end of the run")

    def _add(self, call: Callable[[tracker_lib.Tracker], None] | None) -> None:
        if self._off:
            return
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._fail(f"hangs: {self._calls.maxsize} records wait for it")

    def _work(self, make: Callable[[], tracker_lib.Tracker]) -> None:
        try:
            tracker = make()
            while (call := self._calls.get()) is not None and not self._off:
                call(tracker)
        except BaseException as error:  # noqa: B036 Libraries raise SystemExit, too.
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        with self._lock:
            if not self._off:
                logging.warning(
                    "tracker %s is off from here on, and the run goes on: %s",
                    self._name,
                    reason,
                )
            self._off = True
