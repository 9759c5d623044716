"""The protocol of trackers, and what a tracker is told about its run."""

from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import Protocol

from clinometer.train.run import directory as run_directory


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """The run that a tracker shows.

    Attributes:
        directory: the run directory, in which a tracker keeps the id of the run.
        config: the full configuration, as nested dicts.
        git_revision: of the code, or None if it is not known.
        start_step: number of steps completed before this process.
    """

    directory: run_directory.RunDirectory
    config: Mapping[str, Any]
    git_revision: str | None
    start_step: int

    @property
    def name(self) -> str:
        """The name to show, that of the run directory."""
        return self.directory.path.name


class Tracker(Protocol):
    """Receives the scalars of a run; any method may raise."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the values of a step; a step may come more than once.

        Args:
            step: number of completed steps; it never decreases.
            values: name -> value.
        """

    def sync(self) -> None:
        """Sends what is buffered; called at every checkpoint."""

    def finish(self, status: str) -> None:
        """Ends the tracker's part in this process; no other call follows.

        Args:
            status: "finished", "stopped" (to be resumed) or "failed".
        """


def flat(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a record of the log, those in lists by their places.

    Args:
        values: name -> value; values of other types are left out.

    Returns:
        Such as {"train/loss": 2.5, "health/encoder/load/0/1": 0.25}.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, int | float):
            found[name] = float(value)
        elif isinstance(value, list):
            found |= flat({f"{name}/{i}": part for i, part in enumerate(value)})
    return found
