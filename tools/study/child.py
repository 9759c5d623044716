"""Runs a command on one core, and stops it when the parent process ends.

Usage: `child.py PARENT CORE CMD`. It is a separate script that replaces itself by the
command, because running code between fork and exec is unsafe in a process with threads.
The kernel sends SIGTERM when the parent ends for any reason, and the trainer saves on
SIGTERM. SIGUSR2, by which Slurm warns all processes of a job, is left to the parent.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replaces this process by a command.

    Args:
        argv: the parent's process id, a core number or "-", and the command.
    """
    parent, core, *command = argv
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Inherited by the command.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if core != "-":
            os.sched_setaffinity(0, {int(core)})
    # The parent may have ended before prctl was called.
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
