"""Tests the runner with a fake executor: order, slots, failures, interrupts."""

import dataclasses
import os
import signal
import types

import pytest

from clinometer.tools.study import executor as executor_lib
from clinometer.tools.study import runner
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import tries


class _Executor:
    """Each task runs for a given number of polls, then ends with its next code."""

    poll_seconds = 0

    def __init__(self):
        self.events, self.running, self.most, self.batches = [], 0, 0, []

    def submit(self, tasks):
        self.batches.append(len(tasks))
        return list(map(self._start, tasks))

    def _start(self, task):
        polls, codes = task.arguments
        self.events.append(f"start {task.name}")
        self.running += 1
        self.most = max(self.most, self.running)
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        return types.SimpleNamespace(task=task, polls=polls, code=code)

    def poll(self, handle):
        handle.polls -= 1
        if handle.polls > 0:
            return None
        self.running -= 1
        return handle.code

    def cancel(self, handle, *, force=False):
        self.events.append(f"{'kill' if force else 'stop'} {handle.task.name}")
        if force or handle.code != 99:  # 99: does not listen.
            handle.polls, handle.code = 1, -9 if force else 42


def _tasks(tmp_path, *commands):
    return [
        executor_lib.Task(name, tmp_path / name, (polls, list(codes)))
        for name, polls, *codes in commands
    ]


def test_in_order_at_most_so_many_and_failures_do_not_stop_others(tmp_path):
    executor = _Executor()
    tasks = _tasks(tmp_path, ("a", 5, 0), ("b", 1, 1), ("c", 2, 0), ("d", 1, 0))
    state = runner.run_all(tasks, executor, jobs=2, interrupts=runner.Interrupts())
    assert executor.events == ["start a", "start b", "start c", "start d"]
    assert executor.most == 2
    assert state.exit_codes == {"a": 0, "b": 1, "c": 0, "d": 0}
    assert state.failed == {"b"}
    assert not state.stopping


def test_without_keep_going_a_failure_stops_the_rest(tmp_path):
    executor = _Executor()
    tasks = _tasks(tmp_path, ("a", 9, 0), ("b", 1, 1), ("c", 2, 0))
    state = runner.run_all(
        tasks, executor, jobs=2, interrupts=runner.Interrupts(), keep_going=False
    )
    assert executor.events == ["start a", "start b", "stop a"]
    assert state.exit_codes == {"a": 42, "b": 1}
    assert state.stopping and not state.interrupted


def test_first_interrupt_saves_second_kills(tmp_path):
    executor, interrupts, ticks = _Executor(), runner.Interrupts(), []

    def tick(state):
        ticks.append(len(state.running))
        if len(ticks) in (2, 6):
            os.kill(os.getpid(), signal.SIGTERM)

    tasks = _tasks(tmp_path, ("a", 99, 0), ("deaf", 99, 99), ("c", 1, 0))
    before = signal.getsignal(signal.SIGTERM)
    with interrupts.catch():
        state = runner.run_all(
            tasks, executor, jobs=2, interrupts=interrupts, on_tick=tick
        )
    assert executor.events == [
        "start a",
        "start deaf",
        "stop a",
        "stop deaf",
        "kill deaf",
    ]
    assert state.exit_codes == {"a": 42, "deaf": -9}
    assert not state.failed
    assert state.interrupted and [task.name for task in state.waiting] == ["c"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupts = runner.Interrupts()
        with interrupts.catch():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 1
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_of_our_own_stops_the_runs(tmp_path):
    executor = _Executor()

    def tick(state):
        raise RuntimeError("drawing failed")

    with pytest.raises(RuntimeError):
        runner.run_all(
            _tasks(tmp_path, ("a", 9, 0)),
            executor,
            jobs=1,
            interrupts=runner.Interrupts(),
            on_tick=tick,
        )
    assert executor.events == ["start a", "stop a"]


def test_when_the_time_is_over_the_tasks_save_and_no_more_start(tmp_path):
    executor, ticks = _Executor(), []
    tasks = _tasks(tmp_path, ("a", 9, 0), ("b", 9, 0), ("c", 1, 0))
    state = runner.run_all(
        tasks,
        executor,
        jobs=2,
        interrupts=runner.Interrupts(),
        on_tick=ticks.append,
        is_over_time=lambda: len(ticks) > 3,
    )
    assert executor.events == ["start a", "start b", "stop a", "stop b"]
    assert state.exit_codes == {"a": 42, "b": 42}
    assert state.over_time and not state.interrupted


def test_a_failure_that_is_none_stops_nothing(tmp_path):
    executor = _Executor()
    tasks = _tasks(tmp_path, ("diverges", 1, 1), ("b", 2, 0))
    state = runner.run_all(
        tasks,
        executor,
        jobs=1,
        interrupts=runner.Interrupts(),
        keep_going=False,
        is_failure=lambda task: task.name != "diverges",
    )
    assert state.exit_codes == {"diverges": 1, "b": 0} and not state.stopping


@pytest.mark.parametrize("code", [42, 44, -9, policy.WORKER_LOST])
def test_stopped_and_lost_tasks_are_started_again_behind_the_others(tmp_path, code):
    executor, said = _Executor(), []
    tasks = _tasks(tmp_path, ("a", 1, code, 0), ("b", 1, 0))
    state = runner.run_all(
        tasks,
        executor,
        jobs=1,
        interrupts=runner.Interrupts(),
        on_end=lambda *ending: said.append(ending[1:]),
        keep_going=False,
    )
    assert executor.events == ["start a", "start b", "start a"]
    assert state.exit_codes == {"a": 0, "b": 0}
    done = (0, policy.Next.DONE)
    assert said == [(code, policy.Next.AGAIN), done, done]


def test_the_tries_of_the_command_that_started_a_task_count(tmp_path):
    class TakesOver(_Executor):
        def submit(self, tasks):
            handles = super().submit(tasks)
            for handle in handles:
                handle.task = dataclasses.replace(handle.task, submission="before")
            return handles

    tasks = _tasks(tmp_path, ("a", 1, policy.WORKER_LOST, 0), ("b", 1, 42, 0))
    before = dataclasses.replace(tasks[0], submission="before")
    for _ in range(policy.TRIES):
        tries.begin(before, engine="slurm", pid=1)
    executor = TakesOver()
    state = runner.run_all(tasks, executor, jobs=2, interrupts=runner.Interrupts())
    assert state.exit_codes == {"a": policy.WORKER_LOST, "b": 0}
    assert state.failed == {"a"}
    assert executor.events == ["start a", "start b", "start b"]


def test_a_held_task_waits_while_others_run(tmp_path):
    executor, now = _Executor(), [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    tasks = _tasks(tmp_path, ("a", 1, 43, 0), ("b", 1, 0), ("c", 1, 0))
    runner.run_all(tasks, executor, jobs=1, interrupts=runner.Interrupts(), clock=clock)
    assert executor.events == ["start a", "start b", "start c", "start a"]
    assert now[0] > policy.HELD_SECONDS


def test_without_a_limit_all_are_submitted_together(tmp_path):
    executor = _Executor()
    tasks = _tasks(tmp_path, *((f"t{i}", 2, 0) for i in range(7)))
    state = runner.run_all(tasks, executor, jobs=None, interrupts=runner.Interrupts())
    assert executor.batches == [7] and len(state.exit_codes) == 7


def test_nothing_is_started_again_while_stopping(tmp_path):
    executor, interrupts, said = _Executor(), runner.Interrupts(), []

    def tick(state):
        interrupts.count = 1

    state = runner.run_all(
        _tasks(tmp_path, ("a", 9, 0), ("b", 9, 0)),
        executor,
        jobs=1,
        interrupts=interrupts,
        on_end=lambda *ending: said.append(ending[1:]),
        on_tick=tick,
    )
    assert executor.events == ["start a", "stop a"]
    assert said == [(42, policy.Next.STOP)] and state.exit_codes == {"a": 42}
