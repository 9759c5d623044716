"""Carries out commands, a few at a time, and stops them in good order."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
import signal
import time
from typing import Any

from clinometer.tools.study import executor as executor_lib

_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Command:
    """A command and where its output goes."""

    name: str
    command: tuple[str, ...]
    log: pathlib.Path


@dataclasses.dataclass
class State:
    """Where the tasks stand; `exit_codes` holds those that ended."""

    waiting: list[Command]
    running: dict[str, Any] = dataclasses.field(default_factory=dict)
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    stopping: bool = False  # No more tasks are started.
    interrupted: bool = False  # ... because a signal asked for it.


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while `catch` is active."""

    def __init__(self) -> None:
        """Starts at zero."""
        self.count = 0

    @contextlib.contextmanager
    def catch(self) -> Iterator["Interrupts"]:
        """Takes the signals over, and gives them back at the end."""

        def handle(number: int, frame: object) -> None:
            del number, frame
            self.count += 1

        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Not under nohup.
            signals.append(signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_all(
    tasks: Sequence[Command],
    executor: executor_lib.Executor,
    *,
    jobs: int,
    interrupts: Interrupts,
    on_start: Callable[[Command], None] = lambda task: None,
    on_end: Callable[[Command, int], None] = lambda task, code: None,
    on_tick: Callable[[State], None] = lambda state: None,
    keep_going: bool = True,
) -> State:
    """Runs all tasks in the order given, `jobs` at a time; none is tried twice.

    The first interrupt starts no more tasks and asks the running ones to save and
    stop; a second kills them. Always returns after all have ended.

    Args:
      tasks: with distinct names.
      executor: where they run.
      jobs: how many at a time.
      interrupts: counted by signal handlers, or by a test.
      on_start: called before a task starts.
      on_end: called with a task and its exit code.
      on_tick: called a few times a second.
      keep_going: after a failure, carry on with the others (else stop them).
    """
    state = State(waiting=list(tasks))
    by_name = {task.name: task for task in tasks}
    killed = False
    try:
        while True:
            for name, handle in list(state.running.items()):
                code = executor.poll(handle)
                if code is not None:
                    del state.running[name]
                    state.exit_codes[name] = code
                    on_end(by_name[name], code)
            failed = any(code != 0 for code in state.exit_codes.values())
            if not state.stopping and (interrupts.count or (failed and not keep_going)):
                state.stopping, state.interrupted = True, interrupts.count > 0
                for handle in state.running.values():
                    executor.cancel(handle)
            if interrupts.count > 1 and not killed:
                killed = True
                for handle in state.running.values():
                    executor.cancel(handle, force=True)
            while state.waiting and len(state.running) < jobs and not state.stopping:
                task = state.waiting.pop(0)
                on_start(task)
                state.running[task.name] = executor.submit(task.command, task.log)
            on_tick(state)
            if not state.running and (state.stopping or not state.waiting):
                return state
            time.sleep(_POLL_SECONDS)
    finally:
        # Reached with runs alive only when something above raised.
        for handle in state.running.values():
            executor.cancel(handle)
