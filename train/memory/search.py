"""Finds the largest microbatch with which a run fits in the memory of its devices."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import math
from typing import TypeAlias

import jax

from clinometer import models
from clinometer.train import compiled
from clinometer.train import job as job_lib
from clinometer.train.memory import need as need_lib
from clinometer.train.sharding import summary

Tell: TypeAlias = Callable[[str], None]  # Shows a line of text.


@dataclasses.dataclass(frozen=True)
class Trial:
    """A number of microbatches that was compiled.

    Attributes:
        number: number of microbatches.
        need: the larger need of the train step and of the evaluation step; None if
            compiling ran out of memory itself.
        programs: the compiled functions of the run; None if they do not fit.
    """

    number: int
    need: need_lib.Need | None
    programs: compiled.Programs | None


def numbers(job: job_lib.Job, least: int) -> list[int]:
    """Returns the possible numbers of microbatches, ascending.

    Args:
        job: the run.
        least: the least number that is wanted.
    """
    parts = job.placement.sizes.batch_parts
    most = job.config.data.batch_size // parts

    def divides(number: int) -> bool:
        try:
            job.model.check_parts(rows(job, number), job.source.shape, parts)
        except models.ConfigError:
            return False
        return True

    return [n for n in range(least, most + 1) if most % n == 0 and divides(n)]


def rows(job: job_lib.Job, number: int) -> int:
    """Returns the rows of a microbatch, over all devices.

    Args:
        job: the run.
        number: number of microbatches.
    """
    return job.config.data.batch_size // number


def largest(
    job: job_lib.Job, candidates: Sequence[int], limit: int, tell: Tell
) -> Trial:
    """Compiles a run ahead of time until its programs fit.

    Few numbers are compiled: from what one of them needs follows how many are needed at
    least, since temporaries fall at most in proportion to the microbatch.

    Args:
        job: the run.
        candidates: possible numbers of microbatches, ascending, at least one.
        limit: bytes of memory of a device.
        tell: shows a line for each number that is compiled.

    Returns:
        The trial of the least number that fits; the last trial if none fits.
    """
    least = 0.0
    for number in candidates:
        if number < least and number != candidates[-1]:
            continue
        trial = _try(job, number, limit)
        needed = "more memory than there is to compile"
        if trial.need is not None:
            needed = f"{summary.size(trial.need.total)} a device"
        verdict = "too much" if trial.programs is None else "fits"
        tell(
            f"num_microbatches {number} ({rows(job, number)} rows each) needs {needed}:"
            f" {verdict} for {summary.size(limit)}"
        )
        if trial.programs is not None:
            break
        least = _least(trial, limit)
    return trial


def _least(trial: Trial, limit: int) -> float:
    """Returns the least number that can fit, after one that does not."""
    if trial.need is None:
        return 2 * trial.number
    free = limit - trial.need.held
    return trial.number * trial.need.temporary / free if free > 0 else math.inf


def _try(job: job_lib.Job, number: int, limit: int) -> Trial:
    job = job_lib.with_microbatches(job, number)
    try:
        train_step = compiled.lower_train_step(job).compile()
        need = need_lib.of_train_step(train_step)
        if need.total > limit:
            return Trial(number, need, None)
        programs = compiled.compile_programs(job, train_step)
    except jax.errors.JaxRuntimeError as error:
        if not need_lib.is_exhausted(error):
            raise
        return Trial(number, None, None)
    evaluation = need_lib.of_eval_step(programs.eval_step, job.placement.state)
    need = max(need, evaluation, key=lambda each: each.total)
    return Trial(number, need, programs if need.total <= limit else None)
