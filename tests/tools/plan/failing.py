"""Tables of cases that fail in the compiler's child process."""

import os
import pathlib
import signal
import sys
import time


def dies():
    print("W1121 12:31:16.1  7 x.cc:1] Error: not this", file=sys.stderr)
    print("F1121 12:31:16.2  7 x.cc:2] Check failed: of a test", file=sys.stderr)
    print("*** SIGABRT Error ***", file=sys.stderr, flush=True)
    os.abort()


def hangs():
    time.sleep(600)


def nothing():
    return []


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def tells_its_pid():
    told = pathlib.Path(os.environ["FAILING_PID"])
    told.with_suffix(".partial").write_text(str(os.getpid()))
    told.with_suffix(".partial").rename(told)
    time.sleep(600)
