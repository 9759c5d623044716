"""Says which options would let a run fit that ran out of memory."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib

import jax

from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train.hosts import running
from clinometer.train.memory import need as need_lib
from clinometer.train.memory import search
from clinometer.train.run import directory as run_directory
from clinometer.train.sharding import summary

# What needs less memory, in the order in which it is tried: recomputing layers changes
# no result, bfloat16 does.
_SPARING = {"remat": "layer", "dtype": "bfloat16"}


@contextlib.contextmanager
def explained(
    job: job_lib.Job,
    directory: run_directory.RunDirectory,
    hosts: running.Running,
    tell: search.Tell,
) -> Iterator[None]:
    """Returns a context in which running out of memory raises an error with advice.

    Args:
        job: the run.
        directory: the run directory.
        hosts: the processes of the run, all of which enter it.
        tell: shows a line of text.

    Raises:
        RunError: the memory of a device did not suffice; the message has the options
            with which it would.
    """
    # Before the run itself takes the memory.
    limit = need_lib.of_any_device(job.config, hosts.group)
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not need_lib.is_exhausted(error):
            raise
        number = job.config.num_microbatches
        problem = f"out of memory with {_settings(job, number)}"
        if limit is None:
            raise errors.RunError(
                f"{problem}; the devices do not say how much they have, so give "
                "--config.device_memory_bytes=N and --config.microbatch=auto to find "
                "the largest microbatch that fits"
            ) from error
        tell(f"{problem}; compiling ahead of time to find what fits")
        smaller = search.numbers(job, number + 1)
        reader = directory.checkpoints(read_only=True)
        branch = job.initial is not None and job.initial.trunk is not None
        bound = branch or bool(reader.steps)
        reader.close()
        if bound:
            problem += " (all but remat are those of its checkpoint or trunk)"
        with hosts.other("the search for options that fit"):
            advice = options(job, smaller, limit, tell, bound=bound)
        if job.source.scorer is not None:
            advice += ". A smaller --config.eval.batch_size needs less for decoding"
        raise errors.RunError(f"{problem}. {advice}") from error


def options(
    job: job_lib.Job,
    smaller: Sequence[int],
    limit: int,
    tell: search.Tell,
    *,
    failed: search.Trial | None = None,
    bound: bool = False,
) -> str:
    """Finds options with which a run fits, by compiling it ahead of time.

    Args:
        job: the run, which does not fit.
        smaller: numbers of microbatches to try first, with the model as it is.
        limit: bytes of memory of a device.
        tell: shows a line for each program that is compiled.
        failed: a trial of the run as it is.
        bound: whether the run must keep its number of microbatches and its dtype, since
            it has a checkpoint or is a branch.

    Returns:
        A sentence: the largest microbatch, the remat policy and the dtype that fit,
        with the options to give; or what is needed at least.
    """
    trials = [] if failed is None else [(failed, _settings(job, failed.number))]
    for plan, numbers, fields in _plans(job, smaller, bound):
        if fields:
            tell(f"with {' '.join(fields)}:")
        trial = search.largest(plan, numbers, limit, tell)
        settings = _settings(plan, trial.number)
        if trial.programs is not None:
            return _fits(settings, trial, limit, fields, bound)
        trials.append((trial, settings))
    return _nothing_fits(job, trials, limit)


def _plans(
    job: job_lib.Job, smaller: Sequence[int], bound: bool
) -> Iterator[tuple[job_lib.Job, Sequence[int], list[str]]]:
    """Yields runs, their numbers of microbatches to try, and options of the model."""
    if smaller and not bound:
        yield job, smaller, []
    own = job.config.num_microbatches
    numbers = [own] if bound else search.numbers(job, own)
    options = []
    for field, value in _SPARING.items():
        before = getattr(job.model.config, field, value)
        if before == value or (bound and field == "dtype"):
            continue
        job = job_lib.with_model(job, **{field: value})
        options.append(f"--config.model.{field}={value}")
        yield job, numbers, [*options]


def _fits(
    settings: str,
    trial: search.Trial,
    limit: int,
    fields: Sequence[str],
    bound: bool,
) -> str:
    given = [*fields]
    if not bound:
        given.insert(0, f"--config.num_microbatches={trial.number}")
    warning = ""
    if any("dtype" in field for field in fields):
        warning = " (a dtype that changes the results)"
    return (
        f"It fits with {settings}{warning}, which needs "
        f"{summary.size(trial.need.total)} of {summary.size(limit)} a device: give "
        f"{' '.join(given)}"
    )


def _nothing_fits(
    job: job_lib.Job, trials: Sequence[tuple[search.Trial, str]], limit: int
) -> str:
    known = [(trial.need.total, text) for trial, text in trials if trial.need]
    least = "nothing smaller is possible"
    if known:
        total, settings = min(known)
        least = f"the least, with {settings}, needs {summary.size(total)}"
    state = summary.bytes_per_device(job.placement.state)
    return (
        f"Nothing fits in the {summary.size(limit)} of a device: {least}. More devices "
        "divide it: parameters and optimizer slots, here "
        f"{summary.size(state)} a device, by --config.mesh.fsdp=N and "
        "--config.mesh.model=N, the rows of a microbatch by --config.mesh.data=N"
    )


def _settings(job: job_lib.Job, number: int) -> str:
    """Describes what the memory of a run depends on."""
    found = [f"microbatches of {search.rows(job, number)} rows"]
    config = job.model.config
    found += [f"{f} {getattr(config, f)}" for f in _SPARING if hasattr(config, f)]
    return ", ".join(found)
