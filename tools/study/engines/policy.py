"""What a study does when the process of a run has ended: only this file says so.

| ending | what the study does |
|---|---|
| 0, done | nothing more |
| 42, stopped; 44, another process of the run lost or stuck | starts it again |
| killed by a signal; worker lost | starts it again |
| 43, held by another process | waits, then starts it again |
| any other | fails, with the end of its log; the other runs go on |

A run that is started again goes on from its last checkpoint. After `TRIES` tries in a
row without a new checkpoint, it fails. A study that is stopping starts nothing again.
"""

import enum

from clinometer.train import exit_codes

TRIES = 3
HELD_SECONDS = 30.0
# The engine lost the machine or the process, so that there is no exit code.
WORKER_LOST = 256


class Next(enum.Enum):
    """What follows the end of a process."""

    DONE = enum.auto()
    AGAIN = enum.auto()
    WAIT = enum.auto()
    STOP = enum.auto()
    FAIL = enum.auto()


def after(code: int, without_progress: int, *, stopping: bool = False) -> Next:
    """Returns what follows the end of a process.

    Args:
        code: its exit code, negative for a signal, or WORKER_LOST.
        without_progress: number of the last tries in a row without a new checkpoint.
        stopping: whether the study is stopping.
    """
    if code == exit_codes.DONE:
        return Next.DONE
    if code == exit_codes.HELD:
        return Next.STOP if stopping else Next.WAIT
    again = code < 0 or code in (exit_codes.STOPPED, exit_codes.LOST, WORKER_LOST)
    if again and stopping:
        return Next.STOP
    return Next.AGAIN if again and without_progress < TRIES else Next.FAIL


def described(code: int) -> str:
    """Returns how a process has ended, in words."""
    if code < 0:
        return f"signal {-code}"
    known = {
        exit_codes.STOPPED: "stopped and saved",
        exit_codes.HELD: "in use by another process",
        exit_codes.LOST: "another process of the run was lost or stuck",
        WORKER_LOST: "its worker was lost",
    }
    return known.get(code, f"exit code {code}")
