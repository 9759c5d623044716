"""Runs the tasks of a study as processes of this machine.

Descriptors that the processes inherit, their cores, and that they end with the study,
are affairs of this executor alone.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

from clinometer.tools.study import cores
from clinometer.tools.study import executor
from clinometer.tools.study.engines import environment as environment_lib
from clinometer.tools.study.engines import spawn
from clinometer.tools.study.engines import tries

NAME = "local"


@dataclasses.dataclass(frozen=True)
class Started:
    """A task whose process was started; the handle of `LocalExecutor`.

    Attributes:
        task: the task.
        process: its process.
        claim: its core, or None.
    """

    task: executor.Task
    process: subprocess.Popen[bytes]
    claim: cores.Claim | None


class LocalExecutor:
    """Runs tasks as local processes, each on its own core if there are enough.

    Attributes:
        poll_seconds: time between two looks at all tasks.
    """

    poll_seconds = 0.2

    def __init__(
        self,
        jobs: int,
        *,
        warn: Callable[[str], None] = print,
        programs: pathlib.Path | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Initializes the executor; starts nothing.

        Args:
            jobs: the maximum number of tasks that run at the same time.
            warn: called once with a message if a task gets no core of its own.
            programs: folder in which the tasks share what they compile, or None.
            keep_open: file descriptors that the tasks inherit, such as a lock's.
        """
        # With more jobs than cores there is no core for each, so nothing is pinned.
        self._pins = jobs <= len(cores.usable()) and sys.platform == "linux"
        self._crowded = jobs > cores.count()
        self._warn: Callable[[str], None] | None = warn
        self._environment = environment_lib.of_run(os.environ)
        if programs is not None:
            self._environment = environment_lib.with_programs(
                self._environment, programs
            )
        self._keep_open = tuple(keep_open)

    def submit(self, tasks: Sequence[executor.Task]) -> list[Started]:
        """Starts each task on a free core; at most `jobs` may run at a time."""
        return [self._start(task) for task in tasks]

    def poll(self, handle: Started) -> int | None:
        """Returns the exit code or None; releases the core of a process that ended."""
        known = handle.process.returncode is not None
        code = handle.process.poll()
        if code is not None and not known:
            tries.end(handle.task, code)
            if handle.claim is not None:
                handle.claim.close()
        return code

    def cancel(self, handle: Started, *, force: bool = False) -> None:
        """Sends SIGTERM to the task; with `force`, SIGKILL to its whole session."""
        if self.poll(handle) is not None:
            return
        if force:
            os.killpg(handle.process.pid, signal.SIGKILL)
        else:
            handle.process.send_signal(signal.SIGTERM)

    def _start(self, task: executor.Task) -> Started:
        claim = cores.claim() if self._pins else None
        self._crowded = self._crowded or (self._pins and claim is None)
        if self._crowded and self._warn:
            self._warn("Not every run has its own core; speeds will be noisy.")
            self._warn = None
        core = spawn.NO_CORE if claim is None else str(claim.core)
        kept = (
            self._keep_open if claim is None else (*self._keep_open, claim.descriptor)
        )
        process = spawn.spawn(task, self._environment, core=core, keep_open=kept)
        tries.begin(task, engine=NAME, pid=process.pid)
        return Started(task, process, claim)
