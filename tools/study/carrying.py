"""Carries out commands of a study: starts them, shows their progress, waits."""

import argparse
import contextlib
import pathlib
import sys
import time

from clinometer.tools.report import formats
from clinometer.tools.report import records
from clinometer.tools.study import executor as executor_lib
from clinometer.tools.study import phases
from clinometer.tools.study import progress as progress_lib
from clinometer.tools.study import record_folder
from clinometer.tools.study import runner
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory

_ENDINGS = {
    exit_codes.DONE: "finished",
    exit_codes.STOPPED: "stopped and saved",
    exit_codes.HELD: "in use by another process",
}
_TAIL_LINES = 15


def carry_out(
    options: argparse.Namespace,
    pending: list[phases.RunCommand],
    steps: int,
    lock: int,
    deadline: float | None = None,
) -> runner.State:
    """Runs the pending work, the longest first, and prints its progress.

    Args:
        options: of the command.
        pending: the work.
        steps: number of steps of each run, for the progress.
        lock: file descriptor of the folder's lock, which the runs inherit.
        deadline: time of `time.monotonic` at which the runs save and stop; None for
            none.

    Returns:
        The final state.
    """
    costs = phases.costs(options, pending)
    folders = {one.name: one.folder for one in pending}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    order = sorted(pending, key=lambda one: (-costs[one.name], one.name))
    tasks = [
        runner.Command(one.name, one.command, one.folder / "log.txt") for one in order
    ]
    progress = progress_lib.StudyProgress(
        folders, costs, steps=steps, jobs=options.jobs, out=sys.stdout
    )

    def on_start(task: runner.Command) -> None:
        step = progress_lib.read_standing(folders[task.name]).step
        started = f"resuming at step {step}" if step else "starting"
        progress.say(f"{task.name}: {started}")

    def on_end(task: runner.Command, code: int) -> None:
        words = _ENDINGS.get(code)
        if words is None and has_diverged(folders[task.name]):
            words = "DIVERGED; it is counted, and its size's claims are undecided"
        elif words is None:
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            words = f"FAILED ({ended}); last lines of {task.log}:\n{_tail(task.log)}"
        progress.say(f"{task.name}: {words}{_result(folders[task.name], code)}")
        record_folder.keep_run(options, folders[task.name])

    interrupts = runner.Interrupts()
    told = []

    def on_tick(state: runner.State) -> None:
        if state.stopping and state.running and not told:
            told.append(True)
            progress.say("Stopping; the runs are saving. Press Ctrl-C to kill them.")
        progress.tick(list(state.running), [task.name for task in state.waiting])

    with interrupts.catch(), contextlib.closing(progress):
        executor = executor_lib.LocalExecutor(
            options.jobs, warn=progress.say, keep_open=(lock,)
        )
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


def _result(run: pathlib.Path, code: int) -> str:
    """Returns the loss or scores, and the wall time, of a run that finished."""
    if code != 0:
        return ""
    record = records.read_record(run_directory.RunDirectory(run))
    total = formats.duration(record.wall_seconds.total)
    if record.downstream and record.downstream.tasks:
        listed = (
            f"{task} {formats.with_interval(found.best, found.interval)}"
            for task, found in sorted(record.downstream.tasks.items())
        )
        return f", {', '.join(listed)}, {total}"
    loss = formats.fixed(record.metrics.validation_loss, 4)
    return f", validation loss {loss}, {total}"


def _tail(log: pathlib.Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])
