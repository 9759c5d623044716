"""What a child process that runs the compiler does at its start."""

from collections.abc import Callable
import json
import os
import signal
import sys
import threading
from typing import Any


def start() -> Callable[..., None]:
    """Prepares the process, which then ends when its standard input is closed.

    Returns:
        A function that sends an event, given as keywords, as a line of JSON on standard
        output. Nothing else is written there: what the compiler writes goes to standard
        error.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout.flush()

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    return tell


def _end_with_input() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGKILL)
