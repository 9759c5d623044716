"""Where runs execute: a small protocol, and the local machine.

Nothing of a study is kept in an executor: a run's truth lies in its directory, and the
same command continues it. So another executor (Ray, Slurm) costs nothing but this.
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
    """Starts commands and says how they ended."""

    def submit(self, command: Sequence[str], log: pathlib.Path) -> Any:
        """Starts the command, its output appended to `log`; returns a handle."""

    def poll(self, handle: Any) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""

    def cancel(self, handle: Any, *, force: bool = False) -> None:
        """Asks it to save and stop, or kills it and all it started."""


class LocalExecutor:
    """Processes of this machine, one core each while there are enough of them."""

    def __init__(
        self,
        jobs: int,
        *,
        warn: Callable[[str], None] = print,
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Prepares slots.

        Args:
          jobs: how many commands run at a time, at most.
          warn: told once where a command finds no core free of other studies.
          environment: of the commands; default: this process's, see
            `one_core_environment`.
          keep_open: file descriptors the commands inherit (a lock lives with them).
        """
        # With more jobs than cores, pinning would put two on one and leave none free.
        self._pins = jobs <= len(cores.usable()) and sys.platform == "linux"
        self._crowded = jobs > cores.count()
        self._warn: Callable[[str], None] | None = warn
        self._claims: dict[int, cores.Claim] = {}
        self._environment = dict(environment or one_core_environment(os.environ))
        self._keep_open = tuple(keep_open)

    def submit(
        self, command: Sequence[str], log: pathlib.Path
    ) -> subprocess.Popen[bytes]:
        """Starts the command on a free core; at most `jobs` may be unfinished."""
        claim = cores.claim() if self._pins else None
        self._crowded = self._crowded or (self._pins and claim is None)
        if self._crowded and self._warn:
            self._warn("Not every run has a core of its own: speeds will be noisy.")
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
                # A Ctrl-C reaches the study alone, which then asks the runs to save.
                start_new_session=True,
            )
        if claim is not None:
            self._claims[process.pid] = claim
        return process

    def poll(self, handle: subprocess.Popen[bytes]) -> int | None:
        """The exit code, or None; an ended process gives its core back."""
        code = handle.poll()
        if code is not None and handle.pid in self._claims:
            self._claims.pop(handle.pid).close()
        return code

    def cancel(self, handle: subprocess.Popen[bytes], *, force: bool = False) -> None:
        """SIGTERM to the run, or SIGKILL to its whole session."""
        if handle.poll() is not None:
            return
        if force:
            os.killpg(handle.pid, signal.SIGKILL)
        else:
            handle.send_signal(signal.SIGTERM)


def one_core_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run: this interpreter's paths, one thread per library.

    Always one thread, also where cores are free, so that a run's numbers do not depend
    on how many ran beside it.
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
