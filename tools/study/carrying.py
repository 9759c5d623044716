"""Carries out commands of a study: starts them, shows their progress, waits."""

import argparse
import contextlib
import pathlib
import sys
import time
import uuid

from clinometer.tools.report import formats
from clinometer.tools.report import records
from clinometer.tools.study import executor as executor_lib
from clinometer.tools.study import phases
from clinometer.tools.study import progress as progress_lib
from clinometer.tools.study import record_folder
from clinometer.tools.study import runner
from clinometer.tools.study.engines import choice
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries
from clinometer.train.fewshot import names
from clinometer.train.run import directory as run_directory

_TAIL_LINES = 15


def carry_out(
    options: argparse.Namespace,
    pending: list[phases.RunCommand],
    steps: int,
    lock: int,
    deadline: float | None = None,
) -> runner.State:
    """Runs the pending work, the longest first, and prints its progress.

    Runs that were stopped or lost are started again, see `engines.policy`.

    Args:
        options: of the command.
        pending: the work.
        steps: number of steps of each run, for the progress.
        lock: file descriptor of the folder's lock, which the runs inherit.
        deadline: time of `time.monotonic` at which the runs save and stop; None for
            none.

    Returns:
        The final state.

    Raises:
        ConfigError: there is no such cluster, or it refuses the runs.
    """
    costs = phases.costs(options, pending)
    folders = {one.name: one.folder for one in pending}
    training = {one.name: one.folder for one in pending if one.trains}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
        stop_files.remove(path)
    order = sorted(pending, key=lambda one: (-costs[one.name], one.name))
    submission = uuid.uuid4().hex
    tasks = [
        executor_lib.Task(one.name, one.folder, one.arguments, submission)
        for one in order
    ]
    progress = progress_lib.StudyProgress(
        training, costs, steps=steps, jobs=options.jobs or len(tasks), out=sys.stdout
    )
    held = set()

    def on_start(task: executor_lib.Task) -> None:
        if task.name in held:
            return
        step = progress.standing(task.name).step
        started = f"resuming at step {step}" if step else "starting"
        progress.say(f"{task.name}: {started}")

    def on_end(task: executor_lib.Task, code: int, follows: policy.Next) -> None:
        if follows is not policy.Next.WAIT or task.name not in held:
            progress.say(f"{task.name}: {_ending(task, code, follows)}")
        if follows is policy.Next.WAIT:
            held.add(task.name)
        else:
            held.discard(task.name)
        record_folder.keep_run(options, task.folder)

    interrupts = runner.Interrupts()
    told = []

    def on_tick(state: runner.State) -> None:
        if state.stopping and state.running and not told:
            told.append(True)
            progress.say("Stopping; the runs are saving. Press Ctrl-C to kill them.")
        tasks = [handle.task for handle in state.running.values()]
        running = [x.name for x in tasks if tries.is_running(x.folder, x.submission)]
        others = [n for n in folders if n not in {*running, *state.exit_codes}]
        progress.tick(running, others)

    with interrupts.catch(), contextlib.closing(progress):
        executor = choice.make(options, warn=progress.say, lock=lock)
        return runner.run_all(
            tasks,
            executor,
            jobs=options.jobs,
            interrupts=interrupts,
            on_start=on_start,
            on_end=on_end,
            on_tick=on_tick,
            keep_going=options.keep_going,
            is_failure=lambda task: not has_diverged(folders[task.name]),
            is_over_time=lambda: deadline is not None and time.monotonic() > deadline,
        )


def has_diverged(run: pathlib.Path) -> bool:
    """Returns whether a run was stopped because its loss was NaN or infinite.

    Args:
        run: the run directory.
    """
    directory = run_directory.RunDirectory(run)
    return directory.has_record and records.read_record(directory).diverged


def _ending(task: executor_lib.Task, code: int, follows: policy.Next) -> str:
    """Returns how a run has ended and what follows, for a line of the output."""
    ended = policy.described(code)
    if follows is policy.Next.DONE:
        return f"finished{_result(task.folder)}"
    if follows is policy.Next.AGAIN:
        return f"{ended}; it will be started again"
    if follows is policy.Next.WAIT:
        return f"{ended}; waiting for it"
    if follows is policy.Next.STOP:
        return ended
    if has_diverged(task.folder):
        return "DIVERGED; it is counted, and its size's claims are undecided"
    if tries.without_progress(task.folder, task.submission) >= policy.TRIES:
        ended += f", {policy.TRIES} tries without progress"
    return f"FAILED ({ended}); last lines of {task.log}:\n{_tail(task.log)}"


def _result(run: pathlib.Path) -> str:
    """Returns the loss or scores, and the wall time, of a run that finished."""
    record = records.read_record(run_directory.RunDirectory(run))
    total = formats.duration(record.wall_seconds.total)
    if record.downstream and record.downstream.tasks:
        listed = (
            f"{task} {formats.with_interval(found.best, found.interval)}"
            for task, found in sorted(record.downstream.tasks.items())
        )
        return f", {', '.join(listed)}, {total}"
    if found := [x for x in record.evaluations if x.mixture == names.MIXTURE]:
        listed = (
            f"{k} {formats.fixed(v.score, 1)} %" for k, v in found[-1].tasks.items()
        )
        return f", {', '.join(listed)}"
    loss = formats.fixed(record.metrics.validation_loss, 4)
    return f", validation loss {loss}, {total}"


def _tail(log: pathlib.Path) -> str:
    if not log.is_file():  # The engine could not start the process.
        return "    (there is no log)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])
