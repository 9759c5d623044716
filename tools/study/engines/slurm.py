"""Runs the tasks of a study as jobs of Slurm, by submitit: an array of jobs, one a run.

Slurm decides which job runs where and when. A job whose time is over is queued again by
itself, also after the study has ended; the next command of the study takes over what
Slurm still has. All nodes need this Python environment and the study's folders, at the
same paths.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import pickle
import shlex
import shutil
import subprocess
import time
from typing import Any

from clinometer.kernels import python_child
from clinometer.tools.study import executor
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import settings as settings_lib
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries
from clinometer.train import errors
from clinometer.train import exit_codes

FOLDER = "slurm"
_UNLIMITED = 1_000_000_000  # Time-outs: the jobs apply the rule of progress.
# How long a job's result may take to be seen here after the job has left the queue.
_RESULT_SECONDS = 15.0
_LOG_LEVEL = "SUBMITIT_LOG_LEVEL"
# What reading a job may raise that another version of this package has submitted.
_UNREADABLE = (OSError, pickle.UnpicklingError, EOFError, ImportError, AttributeError)
_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")


@dataclasses.dataclass
class Submitted:
    """A job; the handle of `SlurmExecutor`.

    Attributes:
        task: the run, as the command of the study gave it that submitted the job.
        job: the job, of submitit.
        cancelled: whether it was taken out of the queue.
        gone_since: time at which it was first seen not to be in the queue, or None.
    """

    task: executor.Task
    job: Any
    cancelled: bool = False
    gone_since: float | None = None


class SlurmExecutor:
    """Runs tasks as jobs of Slurm.

    Attributes:
        poll_seconds: time between two looks at all tasks.
    """

    poll_seconds = 2.0

    def __init__(
        self,
        settings: settings_lib.EngineSettings,
        out: pathlib.Path,
        *,
        say: Callable[[str], None] = print,
    ):
        """Initializes the executor; submits nothing.

        Args:
            settings: what a job gets.
            out: the study's folder; submitit's files are in its folder "slurm".
            say: called with a message for each job that is taken over.

        Raises:
            ConfigError: submitit or a command of Slurm is missing, or Slurm refuses
                jobs like these.
        """
        submitit = _submitit()
        for command in _COMMANDS:
            if shutil.which(command) is None:
                raise errors.ConfigError(
                    f"--executor slurm: no command `{command}` on PATH; start the "
                    "study on a machine from which jobs are submitted"
                )
        self._settings, self._say = settings, say
        own = {
            "time": settings.slurm_minutes,
            "nodes": settings.hosts,
            "ntasks-per-node": 1,
        }
        more: dict[str, Any] = {"requeue": True, "cpus-per-task": settings.cpus}
        if settings.gpus:
            more["gpus-per-node"] = settings.gpus
        if settings.slurm_partition:
            more["partition"] = settings.slurm_partition
        given = settings.slurm_options.items()
        more |= {name.replace("_", "-"): value for name, value in given}
        _ask({**own, **more})
        variables = {**python_child.environment({}), _LOG_LEVEL: "INFO"}
        self._engine = submitit.SlurmExecutor(out / FOLDER, max_num_timeout=_UNLIMITED)
        self._engine.update_parameters(
            job_name="clinometer",
            **{
                name.replace("-", "_"): value
                for name, value in own.items()
                if name not in more
            },
            array_parallelism=_UNLIMITED,
            signal_delay_s=settings.slurm_save_seconds,
            stderr_to_stdout=True,
            setup=[
                *(f"export {name}={shlex.quote(v)}" for name, v in variables.items()),
                # `srun` does not take it from `sbatch`.
                'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK}"',
            ],
            additional_parameters=more,
        )
        self._queued: frozenset[str] | None = None
        self._looked_at = 0.0

    def submit(self, tasks: Sequence[executor.Task]) -> list[Submitted]:
        """Adds the tasks to the queue, as one array of jobs.

        A task whose job Slurm still has, of an earlier command of the study, gets no
        second one, which would only wait for the first.

        Raises:
            ConfigError: Slurm refuses the jobs.
        """
        found = self._submitted()
        handles = {}
        for task in tasks:
            mine = found.get((task.folder, task.arguments))
            if mine is not None:
                handles[task.name] = mine
                self._say(f"{task.name}: Slurm has it, as job {mine.job.job_id}")
        missing = [task for task in tasks if task.name not in handles]
        handles |= {one.task.name: one for one in self._submit(missing)}
        return [handles[task.name] for task in tasks]

    def _submit(self, tasks: Sequence[executor.Task]) -> list[Submitted]:
        if not tasks:
            return []
        # Imported here because it needs submitit.
        from clinometer.tools.study.engines import slurm_job

        jobs = [
            slurm_job.SlurmJob(task, self._settings.cpus, self._settings.hosts)
            for task in tasks
        ]
        core = _submitit().core
        try:
            submitted = self._engine.submit_array(jobs)
        except (core.utils.FailedJobError, core.utils.FailedSubmissionError) as error:
            raise _refused(str(error)) from error
        self._queued = None
        return [Submitted(task, job) for task, job in zip(tasks, submitted)]

    def _submitted(self) -> dict[tuple[pathlib.Path, tuple[str, ...]], Submitted]:
        """Returns (run directory, arguments) -> the job that Slurm has for a run."""
        self._queued = None
        found = {}
        for number in self._queue() or ():
            job = self._engine.job_class(
                self._engine.folder, number, range(self._settings.hosts)
            )
            if job.paths.submitted_pickle.exists() and not _has_ended(job):
                with contextlib.suppress(*_UNREADABLE):
                    task = job.submission().function.task
                    found[task.folder, task.arguments] = Submitted(task, job)
        return found

    def poll(self, handle: Submitted) -> int | None:
        """Returns the exit code of process 0; None while the job is queued or runs."""
        job = handle.job
        if not _has_ended(job):
            queue = self._queue()
            if queue is None or job.job_id in queue:
                handle.gone_since = None
                return None
            handle.gone_since = handle.gone_since or time.monotonic()
            waits = time.monotonic() - handle.gone_since < _RESULT_SECONDS
            if waits and not handle.cancelled:
                return None
        first = job.task(0)
        if not first.paths.result_pickle.exists():
            return exit_codes.STOPPED if handle.cancelled else policy.WORKER_LOST
        failure = first.exception()
        if failure is None:
            return first.result()
        # The job was asked to save, and not to be queued again.
        if "UncompletedJobError" in str(failure):
            return policy.WORKER_LOST
        with open(handle.task.log, "a", encoding="utf-8") as log:
            log.write(f"{failure}\n")
        return exit_codes.FAILED

    def cancel(self, handle: Submitted, *, force: bool = False) -> None:
        """Writes a stop file, or takes the job out of the queue; `force` kills it."""
        task = handle.task
        stop_files.write(task.folder)
        if force or not tries.is_running(task.folder, task.submission):
            handle.cancelled = True
            handle.job.cancel(check=False)

    def _queue(self) -> frozenset[str] | None:
        """Returns the numbers of the user's jobs in the queue; None if unknown."""
        fresh = time.monotonic() - self._looked_at < self.poll_seconds
        if self._queued is not None and fresh:
            return self._queued
        command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self._looked_at = time.monotonic()
        if done.returncode == 0:
            self._queued = frozenset(done.stdout.split())
        return self._queued


def _has_ended(job: Any) -> bool:
    """Returns whether all processes of a job have left a result."""
    parts = [job.task(index) for index in range(job.num_tasks)]
    return all(part.paths.result_pickle.exists() for part in parts)


def _ask(options: Mapping[str, Any]) -> None:
    """Asks Slurm whether it would take a job with these options of `sbatch`.

    Raises:
        ConfigError: it would not.
    """
    flags = [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in options.items()
    ]
    command = ["sbatch", "--test-only", *flags, "--wrap=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _refused(done.stderr or done.stdout)


def _refused(text: str) -> errors.ConfigError:
    told = " ".join(text.split())
    return errors.ConfigError(
        f"config.executor: Slurm refuses the jobs: {told}; see the fields "
        "executor.slurm.* in tools/README.md"
    )


def _submitit() -> Any:
    # Otherwise it closes the handlers of all other loggers when it is imported.
    os.environ.setdefault(_LOG_LEVEL, "NOCONFIG")
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"--executor slurm: the Python package '{error.name}' is not installed; "
            "pip install 'clinometer[slurm]'"
        ) from error
    return submitit
