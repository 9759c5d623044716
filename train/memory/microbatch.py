"""Settles the number of microbatches, which `config.microbatch` may leave open."""

from clinometer.train import compiled
from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train.hosts import running
from clinometer.train.memory import advice
from clinometer.train.memory import need as need_lib
from clinometer.train.memory import search
from clinometer.train.run import directory as run_directory


def settle(
    job: job_lib.Job,
    directory: run_directory.RunDirectory,
    hosts: running.Running,
    tell: search.Tell,
) -> tuple[job_lib.Job, compiled.Programs | None]:
    """Chooses the number of microbatches if `config.microbatch` is "auto".

    A run that is resumed keeps the number of its checkpoint, and a branch that of its
    trunk. Otherwise it is the least number, from `config.num_microbatches` on, with
    which the compiled programs fit.

    Args:
        job: the run.
        directory: the run directory.
        hosts: the processes of the run, all of which call it.
        tell: shows lines that say what was tried and taken.

    Returns:
        The run with this number, and its programs if they were compiled for the choice.

    Raises:
        RunError: no number fits, or the devices do not say how much memory they have.
    """
    if job.config.microbatch != "auto":
        return job, None
    reader = directory.checkpoints(read_only=True)
    latest = reader.latest_meta()
    reader.close()
    if latest is not None:
        step, meta = latest
        job = job_lib.resuming(job, meta["identity"])
        number = job.config.num_microbatches
        tell(f"num_microbatches {number}, as in the checkpoint of step {step}")
        return job, None
    number = job.config.num_microbatches
    if job.initial is not None and job.initial.trunk is not None:
        tell(f"num_microbatches {number}, as in {job.initial.run}")
        return job, None
    limit = need_lib.of_any_device(job.config, hosts.group)
    if limit is None:
        raise errors.ConfigError(
            "config.device_memory_bytes: the devices do not say how much memory they "
            "have; give it, or config.microbatch=fixed"
        )
    candidates = search.numbers(job, number)
    with hosts.other("the choice of microbatches"):
        trial = search.largest(job, candidates, limit, tell)
        if trial.programs is None:
            raise errors.RunError(
                "config.microbatch: no microbatch fits with the given remat and dtype. "
                + advice.options(job, [], limit, tell, failed=trial)
            )
    return job_lib.with_microbatches(job, trial.number), trial.programs
