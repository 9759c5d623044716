"""Starts a command that dies with its parent, on one core: `child.py PARENT CORE CMD`.

Run as a script of its own, before the command replaces it, so that nothing happens
between fork and exec of a process that may hold threads. The kernel sends SIGTERM when
the parent goes, however it went, and the trainer saves on SIGTERM.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replaces this process; argv is the parent's id, a core or "-", and a command."""
    parent, core, *command = argv
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if core != "-":
            os.sched_setaffinity(0, {int(core)})
    # The parent may have gone before the request reached the kernel.
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
