"""Where runs execute: a small protocol, and the local machine.

Nothing of a study is kept in an executor: a run's truth lies in its directory, and the
same command continues it. So another executor (Ray, Slurm) costs nothing but this.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import signal
import subprocess
from typing import Any
from typing import Protocol

from clinometer.kernels import python_child
from clinometer.tools.study import child


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
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Prepares slots.

        Args:
          jobs: how many commands run at a time, at most.
          environment: of the commands; default: this process's, see
            `one_core_environment`.
          keep_open: file descriptors the commands inherit (a lock lives with them).
        """
        cores = usable_cores()
        # With more jobs than cores, pinning would put two on one and leave none free.
        self._slots: list[str] = (
            [str(core) for core in cores[:jobs]] if jobs <= len(cores) else ["-"] * jobs
        )
        self._held: dict[int, str] = {}
        self._environment = dict(environment or one_core_environment(os.environ))
        self._keep_open = tuple(keep_open)

    def submit(
        self, command: Sequence[str], log: pathlib.Path
    ) -> subprocess.Popen[bytes]:
        """Starts the command in a free slot; at most `jobs` may be unfinished."""
        slot = self._slots.pop(0)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                python_child.script(child.__file__, str(os.getpid()), slot, *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=self._keep_open,
                # A Ctrl-C reaches the study alone, which then asks the runs to save.
                start_new_session=True,
            )
        self._held[process.pid] = slot
        return process

    def poll(self, handle: subprocess.Popen[bytes]) -> int | None:
        """The exit code, or None; an ended process gives its slot back."""
        code = handle.poll()
        if code is not None and handle.pid in self._held:
            self._slots.append(self._held.pop(handle.pid))
        return code

    def cancel(self, handle: subprocess.Popen[bytes], *, force: bool = False) -> None:
        """SIGTERM to the run, or SIGKILL to its whole session."""
        if handle.poll() is not None:
            return
        if force:
            os.killpg(handle.pid, signal.SIGKILL)
        else:
            handle.send_signal(signal.SIGTERM)


def usable_cores() -> list[int]:
    """Numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


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
