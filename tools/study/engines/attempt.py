"""One try to train a run, in a worker of an engine on any machine.

The worker starts the process of the run, waits for it and returns its exit code. An
engine may start a task again by itself, after it lost a worker, so the worker too asks
whether there was progress.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import os
import signal
import subprocess
import threading
import time

from clinometer.tools.study import executor
from clinometer.tools.study.engines import environment as environment_lib
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import spawn
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries
from clinometer.train import exit_codes

_POLL_SECONDS = 0.1


class Attempt:
    """A try to train a run. Its methods may be called by signal handlers.

    Attributes:
        task: the run.
    """

    def __init__(
        self,
        task: executor.Task,
        *,
        engine: str,
        job: str,
        cpus: int,
        node: str | None = None,
        records: bool = True,
    ):
        """Initializes the attempt; starts nothing.

        Args:
            task: the run.
            engine: name of the executor.
            job: how the engine calls the job.
            cpus: number of cores.
            node: how the engine calls this machine; None for its host name.
            records: whether this worker records the try; one of those of a run does.
        """
        self.task = task
        self._engine, self._job, self._node = engine, job, node
        self._cpus, self._records = cpus, records
        self._process: subprocess.Popen[bytes] | None = None
        self._code: int | None = None
        self._stopped = False

    def run(
        self, environment: Mapping[str, str], more_arguments: Sequence[str] = ()
    ) -> int:
        """Trains until the process of the run ends; returns the exit code.

        Args:
            environment: environment variables of the worker.
            more_arguments: added to those of the task.
        """
        if stop_files.is_there(self.task.folder) or self._stopped:
            return exit_codes.STOPPED  # The study stopped before this could start.
        if self._has_no_progress():
            return policy.WORKER_LOST
        if self._records:
            tries.begin(
                self.task,
                engine=self._engine,
                pid=os.getpid(),
                node=self._node,
                job=self._job,
            )
        self._process = spawn.spawn(
            self.task,
            environment_lib.of_run(environment, self._cpus),
            more_arguments=more_arguments,
        )
        # Killed with its parent thread, so it is started here and awaited elsewhere: a
        # signal handler cannot wait for what the thread that it interrupts waits for.
        threading.Thread(target=self._reap, daemon=True).start()
        if self._stopped:  # Since the last look.
            self.stop()
        return self._wait()

    def stop(self) -> None:
        """Asks the process to save and stop; does nothing after it has ended."""
        self._stopped = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def stopped_code(self) -> int | None:
        """Asks the process to save and stop, and waits for it.

        Returns:
            Its exit code; None if it was not started.
        """
        self.stop()
        return None if self._process is None else self._wait()

    def _has_no_progress(self) -> bool:
        task = self.task
        done = tries.without_progress(task.folder, task.submission)
        return self._records and done >= policy.TRIES

    def _reap(self) -> None:
        self._code = self._process.wait()

    def _wait(self) -> int:
        while self._code is None:
            try:
                time.sleep(_POLL_SECONDS)
            except KeyboardInterrupt:  # An engine's way to cancel.
                self.stop()
        if self._records:
            self._records = False
            tries.end(self.task, self._code)
        return self._code
