"""Shows the progress of a study: live on a terminal, otherwise as occasional lines."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import time
from typing import TextIO

from clinometer.kernels import terminal
from clinometer.tools.report import formats
from clinometer.train.run import directory as run_directory

_TERMINAL_SECONDS = 1.0
_PLAIN_SECONDS = 20.0
_MOST_LINES = 12


@dataclasses.dataclass(frozen=True)
class Standing:
    """The progress of a run according to its metrics.jsonl.

    Attributes:
        step: the last logged step.
        loss: the last logged training loss, in nats per token.
    """

    step: int = 0
    loss: float | None = None


def read_standing(run: pathlib.Path) -> Standing:
    """Reads the last step and training loss from the run's metrics.jsonl.

    Args:
        run: the run directory.

    Returns:
        The progress; step 0 and no loss if nothing was logged yet.
    """
    records = run_directory.RunDirectory(run).metrics.read_end()
    losses = [loss for r in records if (loss := r.get("train/loss")) is not None]
    step = records[-1]["step"] if records else 0
    return Standing(step, losses[-1] if losses else None)


def seconds_left(
    running: Mapping[str, float | None], waiting: Sequence[float | None], jobs: int
) -> float | None:
    """Estimates the time until the last run ends, if runs start as slots become free.

    Args:
        running: run -> seconds left, None if unknown.
        waiting: duration in seconds of each run that has not started, in order, None if
            unknown.
        jobs: number of runs at a time.

    Returns:
        The seconds left, or None if any duration is unknown.
    """
    slots = [*running.values(), *[0.0] * (jobs - len(running))]
    if any(value is None for value in (*slots, *waiting)):
        return None
    for seconds in waiting:
        slots.sort()
        slots[0] += seconds
    return max(slots, default=0.0)


@dataclasses.dataclass
class _Watch:
    """The progress of a run as observed since it started."""

    started: float
    first: tuple[float, int] | None = None  # (time, step) of the first new step seen.
    last: tuple[float, int] | None = None
    standing: Standing = Standing()

    def update(self, now: float, standing: Standing) -> None:
        if standing.step > self.standing.step or self.first is None:
            if standing.step > 0:
                self.first = self.first or (now, standing.step)
                self.last = (now, standing.step)
            self.standing = standing

    @property
    def rate(self) -> float | None:
        """Observed steps per second of wall time."""
        if self.first is None or self.last[0] <= self.first[0]:
            return None
        return (self.last[1] - self.first[1]) / (self.last[0] - self.first[0])


class StudyProgress:
    """Displays the progress of the running runs, which it reads from their folders."""

    def __init__(
        self,
        folders: Mapping[str, pathlib.Path],
        costs: Mapping[str, float],
        *,
        steps: int,
        jobs: int,
        out: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Initializes the display; draws nothing.

        Args:
            folders: run -> its directory, for all runs that will be started; without
                those that do not train.
            costs: run -> relative cost of a step, to estimate the speed of runs that
                have not been timed.
            steps: number of steps of each run.
            jobs: number of runs at a time.
            out: stream to write to.
            clock: returns the time in seconds.
        """
        self._folders, self._costs = folders, costs
        self._steps, self._jobs, self._clock = steps, jobs, clock
        self._watches: dict[str, _Watch] = {}
        self._rates: dict[str, float] = {}  # Last known, ended runs included.
        self._last_draw = clock()
        self._block = terminal.Line(_PLAIN_SECONDS, out)

    def standing(self, name: str) -> Standing:
        """Returns the progress of a run; none of one that does not train."""
        folder = self._folders.get(name)
        return Standing() if folder is None else read_standing(folder)

    def say(self, text: str) -> None:
        """Prints a permanent line above the block."""
        self._block.note(text)

    def close(self) -> None:
        """Clears the block."""
        self._block.clear()

    def tick(self, running: Sequence[str], waiting: Sequence[str]) -> None:
        """Reads the progress of the runs and draws it, if enough time has passed.

        Args:
            running: names of the running runs.
            waiting: names of the runs that have not started.
        """
        now = self._clock()
        for name in set(self._watches) - set(running):
            del self._watches[name]
        for name in running:
            self._watches.setdefault(name, _Watch(now))
        period = _TERMINAL_SECONDS if self._block.on_terminal else _PLAIN_SECONDS
        if now - self._last_draw < period:
            return
        self._last_draw = now
        for name, watch in self._watches.items():
            watch.update(now, self.standing(name))
            if watch.rate:
                self._rates[name] = watch.rate
        lines = [self._line(name) for name in running[:_MOST_LINES]]
        if more := running[_MOST_LINES:]:
            lines.append(f"... and {len(more)} more, see `clinometer status`")
        left = seconds_left(
            {name: self._left(name) for name in running},
            [self._guess(name) for name in waiting],
            self._jobs,
        )
        summary = f"{len(running)} running, {len(waiting)} waiting"
        if left is not None:
            summary += f", about {formats.duration(left)} left"
        if running:
            self._block.draw(*lines, summary)
        else:
            self._block.clear()

    def _line(self, name: str) -> str:
        watch = self._watches[name]
        standing = watch.standing
        if not standing.step:
            waited = formats.duration(self._clock() - watch.started)
            doing = "starting" if name in self._folders else "running"
            return f"{name}: {doing} ({waited})"
        parts = [f"{name}: step {standing.step}/{self._steps}"]
        if standing.loss is not None:
            parts.append(f"loss {standing.loss:.3f}")
        if watch.rate:
            parts.append(f"{formats.significant(watch.rate)} steps/s")
            parts.append(f"{formats.duration(self._left(name))} left")
        return ", ".join(parts)

    def _left(self, name: str) -> float | None:
        watch = self._watches[name]
        if watch.rate:
            return (self._steps - watch.standing.step) / watch.rate
        return self._guess(name)

    def _guess(self, name: str) -> float | None:
        """Estimates a run's seconds left from the timed run that is nearest in cost."""
        if not self._rates:
            return None
        cost = self._costs[name]
        near = min(self._rates, key=lambda other: abs(self._costs[other] - cost))
        rate = self._rates[near] * self._costs[near] / cost
        return (self._steps - self.standing(name).step) / rate
