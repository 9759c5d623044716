"""The interface of an executor, which starts the runs of a study.

An executor holds no state of a study. The state of a run is in its directory, and the
same command resumes it, whichever executor starts it. The executors are in `engines/`.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Task:
    """A process that pretrains or fine-tunes a model.

    Attributes:
        name: a unique name.
        folder: the run directory.
        arguments: of Python, such as ("-m", "clinometer.train.main", ...).
        submission: names the command of the study that asks for the task.
    """

    name: str
    folder: pathlib.Path
    arguments: tuple[str, ...]
    submission: str = ""

    @property
    def log(self) -> pathlib.Path:
        """The file that the output is appended to."""
        return self.folder / "log.txt"


class Handle(Protocol):
    """A task that an executor has."""

    @property
    def task(self) -> Task:
        """The task, with the submission of an earlier command that has started it."""


class Executor(Protocol):
    """Starts tasks and reports how they ended.

    Attributes:
        poll_seconds: time between two looks at all tasks.
    """

    poll_seconds: float

    def submit(self, tasks: Sequence[Task]) -> Sequence[Handle]:
        """Starts the tasks, or adds them to a queue; returns a handle of each.

        Raises:
            ConfigError: the engine refuses them; the message says why.
        """

    def poll(self, handle: Handle) -> int | None:
        """Returns the exit code, see `engines.policy`; None while the task runs."""

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Asks the task to save and stop; `force` kills it and its children."""
