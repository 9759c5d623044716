"""What a job of Slurm does: tries to train a run, and is queued again by time-outs."""

import os
import signal

import submitit

from clinometer.tools.study import executor
from clinometer.tools.study.engines import attempt
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import settings
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries


class SlurmJob:
    """A callable for submitit; on a run's several hosts, one in each.

    Attributes:
        task: the run.
    """

    def __init__(self, task: executor.Task, cpus: int, hosts: int):
        """Initializes the job, which is then pickled.

        Args:
            task: the run.
            cpus: number of cores on each host.
            hosts: number of hosts.
        """
        self.task = task
        self._cpus, self._hosts = cpus, hosts
        self._attempt: attempt.Attempt | None = None

    def __call__(self) -> int:
        """Trains until the process of the run ends; returns its exit code."""
        job = submitit.JobEnvironment()
        self._attempt = attempt.Attempt(
            self.task,
            engine=settings.SLURM,
            job=job.job_id,
            cpus=self._cpus,
            records=job.global_rank == 0,
        )
        # Submitit ignores SIGTERM, which comes before a preemption and by `scancel`.
        signal.signal(signal.SIGTERM, lambda *unused: self._attempt.stop())
        found_by_jax = ("--distributed",) if self._hosts > 1 else ()
        return self._attempt.run(os.environ, found_by_jax)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission | None:
        """Lets the run save before the job's time is over; called by submitit.

        Returns:
            What the job does when its turn comes again; None if it is not to be queued
            again, because the study stops or three tries made no progress.
        """
        folder, submission = self.task.folder, self.task.submission
        stops = stop_files.is_there(folder)  # The process removes the file.
        self._attempt.stopped_code()
        if stops or tries.without_progress(folder, submission) >= policy.TRIES:
            return None
        again = SlurmJob(self.task, self._cpus, self._hosts)
        return submitit.helpers.DelayedSubmission(again)
