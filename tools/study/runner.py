"""Runs commands, a few at a time, and stops them gracefully when interrupted."""

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
    """A command to run.

    Attributes:
        name: a unique name.
        command: the command and its arguments.
        log: the file that its output is appended to.
    """

    name: str
    command: tuple[str, ...]
    log: pathlib.Path


@dataclasses.dataclass
class State:
    """The state of all tasks.

    Attributes:
        waiting: tasks that have not started.
        running: name -> the executor's handle, of running tasks.
        exit_codes: name -> exit code, of tasks that have ended.
        stopping: whether no more tasks are started.
        interrupted: whether that is because of a signal.
        over_time: whether that is because the time was over.
    """

    waiting: list[Command]
    running: dict[str, Any] = dataclasses.field(default_factory=dict)
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    stopping: bool = False
    interrupted: bool = False
    over_time: bool = False


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while `catch` is active."""

    def __init__(self) -> None:
        """Initializes the count with zero."""
        self.count = 0

    @contextlib.contextmanager
    def catch(self) -> Iterator["Interrupts"]:
        """Installs the signal handlers; restores the previous ones on exit."""

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
    is_failure: Callable[[Command], bool] = lambda task: True,
    is_over_time: Callable[[], bool] = lambda: False,
) -> State:
    """Runs tasks in the given order, `jobs` at a time, without retries.

    After the first interrupt no more tasks are started and the running ones are asked
    to save and stop; a second interrupt kills them. Returns only when all have ended.

    Args:
        tasks: the tasks, with distinct names.
        executor: runs the commands.
        jobs: the maximum number of tasks that run at the same time.
        interrupts: counts the interrupts.
        on_start: called with each task before it starts.
        on_end: called with each task and its exit code when it has ended.
        on_tick: called with the state a few times per second.
        keep_going: whether to continue with the other tasks after a failure, rather
            than to stop them.
        is_failure: whether a task with an exit code other than 0 counts as failed.
        is_over_time: whether the time is over: the running tasks are then asked to save
            and stop, and no more are started.

    Returns:
        The final state.
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
            failed = any(
                code != 0 and is_failure(by_name[name])
                for name, code in state.exit_codes.items()
            )
            ends = interrupts.count or (failed and not keep_going)
            if not state.stopping and (ends or is_over_time()):
                state.stopping, state.interrupted = True, interrupts.count > 0
                state.over_time = not ends
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
        # Tasks are still running here only if something above raised an error.
        for handle in state.running.values():
            executor.cancel(handle)
