"""The tries to train a run: `tries.jsonl` in its directory, a line for each event.

Whoever starts the process of a run adds a line before and after it, so that the number
of tries without progress can be counted by any process on any machine.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import socket
from typing import Any

from clinometer.data import paths
from clinometer.tools.study import executor
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record

FILE_NAME = "tries.jsonl"


@dataclasses.dataclass(frozen=True)
class Try:
    """One start of a run's process.

    Attributes:
        submission: names the command of the study that asked for it.
        engine: name of the executor.
        node: name of the machine.
        pid: process id of the worker, or of the run itself if there is no worker.
        step: that of the newest checkpoint before it.
        started_at: time in UTC.
        job: how the engine calls the job, such as a Slurm job's number; or None.
        code: its exit code; None if it runs, or was lost with its worker.
        ended_at: time in UTC, or None.
    """

    submission: str
    engine: str
    node: str
    pid: int
    step: int
    started_at: str
    job: str | None = None
    code: int | None = None
    ended_at: str | None = None


def begin(
    task: executor.Task,
    *,
    engine: str,
    pid: int,
    node: str | None = None,
    job: str | None = None,
) -> None:
    """Records that the process of a run starts, on this machine.

    Args:
        task: the run.
        engine: name of the executor.
        pid: process id of the worker, or of the run itself if there is no worker.
        node: how the engine calls this machine; None for its host name.
        job: how the engine calls the job.
    """
    begun = Try(
        task.submission,
        engine,
        node or socket.gethostname(),
        pid,
        saved_step(task.folder),
        run_record.now(),
        job,
    )
    fields = dataclasses.asdict(begun)
    _append(task.folder, {k: v for k, v in fields.items() if v is not None})


def end(task: executor.Task, code: int) -> None:
    """Records that the process of a run has ended.

    Args:
        task: the run.
        code: its exit code, negative for a signal.
    """
    _append(task.folder, {"code": code, "ended_at": run_record.now()})


def read(run: pathlib.Path) -> list[Try]:
    """Returns the tries of a run, in order; lines that cannot be read are ignored.

    Args:
        run: the run directory.
    """
    try:
        lines = (run / FILE_NAME).read_bytes().splitlines()
    except OSError:
        return []
    found: list[Try] = []
    for line in lines:
        try:
            event = json_file.loads_object(line)
            if "code" not in event:
                found.append(Try(**event))
            elif found:
                found[-1] = dataclasses.replace(found[-1], **event)
        except (TypeError, ValueError):  # The last line of a full disk, for example.
            continue
    return found


def without_progress(run: pathlib.Path, submission: str) -> int:
    """Returns how many tries in a row, the last ones, have saved no new checkpoint.

    Tries of a run that another process held count for nothing.

    Args:
        run: the run directory.
        submission: the command of the study, of which the tries are.
    """
    mine = [t for t in read(run) if t.submission == submission]
    return _unchanged(mine, saved_step(run))


def is_running(run: pathlib.Path, submission: str) -> bool:
    """Returns whether the last try is of this command and has not ended."""
    found = read(run)
    return bool(found) and found[-1].submission == submission and not found[-1].ended_at


def saved_step(run: pathlib.Path) -> int:
    """Returns the step of the newest checkpoint of a run; 0 without one."""
    folder = run_directory.RunDirectory(run).checkpoints_path
    try:
        names = paths.names(folder)
    except OSError:
        return 0
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _unchanged(tries: Sequence[Try], step: int) -> int:
    tried = [t for t in tries if t.code != exit_codes.HELD]
    count = 0
    for one in reversed(tried):
        if one.step != step:
            break
        count += 1
    return count


def _append(run: pathlib.Path, event: dict[str, Any]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    line = (json_file.dumps(event) + "\n").encode()
    # One write, so that lines of two processes do not mix.
    descriptor = os.open(run / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
