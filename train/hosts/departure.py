"""Ends a process whose run cannot go on, because a process was lost or is stuck.

JAX's own end would wait for the lost process, and then abort with a stack trace.
"""

from collections.abc import Callable
import contextlib
import faulthandler
import os
import sys
import threading
import time
from typing import NoReturn

from clinometer.train import exit_codes

# For the record, which may be on a disk that does not answer.
RECORD_SECONDS = 90.0


class Departure:
    """Ends this process with a sentence, the status "failed" and exit code LOST.

    Attributes:
        record: called with a sentence, and whether process 0 may be unable to write
            it, to write the status "failed"; None until there is a run directory.
    """

    def __init__(self, command: str):
        """Stores the name of the command, for messages.

        Args:
            command: e.g. "clinometer train".
        """
        self._command = command
        self._first = threading.Lock()
        self.record: Callable[[str, bool], None] | None = None

    def lost(self, index: int, sentence: str) -> NoReturn:
        """Ends the process because another one was lost; callable from any thread.

        Args:
            index: index of the other process.
            sentence: what happened.
        """
        self._end(sentence, first_lost=index == 0)

    def stuck(self, sentence: str) -> NoReturn:
        """Ends the process as `lost` does, and prints the stacks of all threads.

        Args:
            sentence: what happened.
        """
        faulthandler.dump_traceback(file=sys.stderr)
        self._end(sentence, first_lost=True)

    def _end(self, sentence: str, first_lost: bool) -> NoReturn:
        if not self._first.acquire(blocking=False):
            while True:  # The other thread ends the process.
                time.sleep(1.0)
        self._say(f"{sentence}; run the same command to resume")
        if self.record is not None:
            writer = threading.Thread(
                target=self._write, args=(sentence, first_lost), daemon=True
            )
            writer.start()
            writer.join(RECORD_SECONDS)
        end(exit_codes.LOST)

    def _write(self, sentence: str, first_lost: bool) -> None:
        try:
            self.record(sentence, first_lost)
        except Exception as error:  # The process must end.
            self._say(f"the record was not written: {error}")

    def _say(self, text: str) -> None:
        print(f"{self._command}: error: {text}", file=sys.stderr, flush=True)


def end(code: int) -> NoReturn:
    """Ends the process at once, without waiting for other processes.

    Args:
        code: the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # Closed, or a full disk.
            stream.flush()
    os._exit(code)
