"""Runs tasks by an executor, again where `engines.policy` says so, or until stopped."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import signal
import time

from clinometer.tools.study import executor as executor_lib
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import tries


@dataclasses.dataclass
class State:
    """The state of all tasks.

    Attributes:
        waiting: tasks that are to be started, or started again.
        running: name -> the executor's handle, of tasks that it runs or has queued.
        exit_codes: name -> exit code, of tasks that have ended for good.
        failed: names of those that failed, rather than finished or stopped.
        stopping: whether no more tasks are started.
        interrupted: whether that is because of a signal.
        over_time: whether that is because the time was over.
    """

    waiting: list[executor_lib.Task]
    running: dict[str, executor_lib.Handle] = dataclasses.field(default_factory=dict)
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)
    failed: set[str] = dataclasses.field(default_factory=set)
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
    tasks: Sequence[executor_lib.Task],
    executor: executor_lib.Executor,
    *,
    jobs: int | None,
    interrupts: Interrupts,
    on_start: Callable[[executor_lib.Task], None] = lambda task: None,
    on_end: Callable[[executor_lib.Task, int, policy.Next], None] = lambda *_: None,
    on_tick: Callable[[State], None] = lambda state: None,
    keep_going: bool = True,
    is_failure: Callable[[executor_lib.Task], bool] = lambda task: True,
    is_over_time: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> State:
    """Runs tasks in the given order, `jobs` at a time, by the rules of `policy`.

    After the first interrupt no more tasks are started and the running ones are asked
    to save and stop; a second interrupt kills them. Returns only when all have ended.

    Args:
        tasks: the tasks, with distinct names.
        executor: runs the tasks.
        jobs: the maximum number of tasks that the executor has at the same time; None
            for no limit.
        interrupts: counts the interrupts.
        on_start: called with each task before it starts.
        on_end: called with each task when it has ended, its exit code and what follows.
        on_tick: called with the state at each look at the tasks.
        keep_going: whether to continue with the other tasks after a failure, rather
            than to stop them.
        is_failure: whether a task that failed counts as such.
        is_over_time: whether the time is over: the running tasks are then asked to save
            and stop, and no more are started.
        clock: returns the time in seconds.

    Returns:
        The final state.

    Raises:
        ConfigError: the executor refuses tasks. Those that run are asked to stop.
    """
    state = State(waiting=list(tasks))
    by_name = {task.name: task for task in tasks}
    held_until: dict[str, float] = {}
    killed = False
    try:
        while True:
            for name, handle in list(state.running.items()):
                code = executor.poll(handle)
                if code is not None:
                    del state.running[name]
                    task = handle.task
                    follows = policy.after(
                        code,
                        tries.without_progress(task.folder, task.submission),
                        stopping=state.stopping,
                    )
                    if follows in (policy.Next.AGAIN, policy.Next.WAIT):
                        state.waiting.append(by_name[name])
                    else:
                        state.exit_codes[name] = code
                    if follows is policy.Next.FAIL:
                        state.failed.add(name)
                    if follows is policy.Next.WAIT:
                        held_until[name] = clock() + policy.HELD_SECONDS
                    on_end(task, code, follows)
            failed = any(is_failure(by_name[name]) for name in state.failed)
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
            if not state.stopping:
                now = clock()
                ready = [t for t in state.waiting if held_until.get(t.name, now) <= now]
                free = None if jobs is None else max(0, jobs - len(state.running))
                for task in ready[:free]:
                    on_start(task)
                    state.waiting.remove(task)
                handles = executor.submit(ready[:free]) if ready[:free] else ()
                for task, handle in zip(ready[:free], handles):
                    state.running[task.name] = handle
            on_tick(state)
            if not state.running and (state.stopping or not state.waiting):
                return state
            time.sleep(executor.poll_seconds)
    finally:
        # Tasks are still running here only if something above raised an error.
        for handle in state.running.values():
            executor.cancel(handle)
