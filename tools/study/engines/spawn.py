"""Starts the process of a run, on this machine."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import subprocess

from clinometer.kernels import python_child
from clinometer.tools.study import child
from clinometer.tools.study import executor

NO_CORE = "-"


def spawn(
    task: executor.Task,
    environment: Mapping[str, str],
    *,
    core: str = NO_CORE,
    keep_open: Sequence[int] = (),
    more_arguments: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Starts the process of a task, which ends by SIGTERM if this process ends.

    Args:
        task: the task; its output is appended to its log.
        environment: the environment variables.
        core: number of the core that it runs on, or "-" for any.
        keep_open: file descriptors that it inherits.
        more_arguments: added to those of the task.
    """
    command = python_child.command(*task.arguments, *more_arguments)
    with open(task.log, "ab") as output:
        return subprocess.Popen(
            python_child.script(child.__file__, str(os.getpid()), core, *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            pass_fds=tuple(keep_open),
            # Ctrl-C then reaches only the study, which asks the runs to save.
            start_new_session=True,
        )
