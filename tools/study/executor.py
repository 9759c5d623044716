"""Executes runs: the interface of an executor, and the one for the local machine.

An executor holds no state of a study. The state of a run is in its directory, and the
same command resumes it, so another executor (Ray, Slurm) needs only this interface.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any
from typing import Protocol

from clinometer.kernels import python_child
from clinometer.tools.study import child
from clinometer.tools.study import cores


class Executor(Protocol):
    """Starts commands and reports how they ended."""

    def submit(self, command: Sequence[str], log: pathlib.Path) -> Any:
        """Starts the command and appends its output to `log`; returns a handle."""

    def poll(self, handle: Any) -> int | None:
        """Returns the exit code, negative for a signal, or None while it runs."""

    def cancel(self, handle: Any, *, force: bool = False) -> None:
        """Asks the command to save and stop; `force` kills it and its children."""


class LocalExecutor:
    """Runs commands as local processes, each on its own core if there are enough."""

    def __init__(
        self,
        jobs: int,
        *,
        warn: Callable[[str], None] = print,
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Initializes the executor; starts nothing.

        Args:
            jobs: the maximum number of commands that run at the same time.
            warn: called once with a message if a command gets no core of its own.
            environment: environment variables of the commands; by default those of this
                process, changed by `one_core_environment`.
            keep_open: file descriptors that the commands inherit, such as a lock's.
        """
        # With more jobs than cores there is no core for each, so nothing is pinned.
        self._pins = jobs <= len(cores.usable()) and sys.platform == "linux"
        self._crowded = jobs > cores.count()
        self._warn: Callable[[str], None] | None = warn
        self._claims: dict[int, cores.Claim] = {}
        self._environment = dict(environment or one_core_environment(os.environ))
        self._keep_open = tuple(keep_open)

    def submit(
        self, command: Sequence[str], log: pathlib.Path
    ) -> subprocess.Popen[bytes]:
        """Starts the command on a free core; at most `jobs` may run at a time."""
        claim = cores.claim() if self._pins else None
        self._crowded = self._crowded or (self._pins and claim is None)
        if self._crowded and self._warn:
            self._warn("Not every run has its own core; speeds will be noisy.")
            self._warn = None
        core = "-" if claim is None else str(claim.core)
        kept = (
            self._keep_open if claim is None else (*self._keep_open, claim.descriptor)
        )
        with open(log, "ab") as output:
            process = subprocess.Popen(
                python_child.script(child.__file__, str(os.getpid()), core, *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=kept,
                # Ctrl-C then reaches only the study, which asks the runs to save.
                start_new_session=True,
            )
        if claim is not None:
            self._claims[process.pid] = claim
        return process

    def poll(self, handle: subprocess.Popen[bytes]) -> int | None:
        """Returns the exit code or None; releases the core of a process that ended."""
        code = handle.poll()
        if code is not None and handle.pid in self._claims:
            self._claims.pop(handle.pid).close()
        return code

    def cancel(self, handle: subprocess.Popen[bytes], *, force: bool = False) -> None:
        """Sends SIGTERM to the command; with `force`, SIGKILL to its whole session."""
        if handle.poll() is not None:
            return
        if force:
            os.killpg(handle.pid, signal.SIGKILL)
        else:
            handle.send_signal(signal.SIGTERM)


def one_core_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables of a run on one core.

    Libraries use one thread even if more cores are free, so that the numbers of a run
    don't depend on how many others ran at the same time.

    Args:
        environment: the variables to start from.
    """
    flags = environment.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        flags = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        **python_child.environment(environment),
        **dict.fromkeys(threads, "1"),
        "XLA_FLAGS": flags,
        "PYTHONUNBUFFERED": "1",
    }
