"""Compiles the functions of a run for its mesh."""

from collections.abc import Callable
import dataclasses
import functools

import jax
import numpy as np

from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train import validation
from clinometer.train.hosts import stop


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled functions of a run.

    Attributes:
        initialise: () -> the training state at step 0; compiled when it is called.
        train_step: (state, batch) -> (state, (metrics, stop)), with `stop.with_flag`;
            takes over the state's memory.
        eval_step: (params, batch) -> losses of the rows.
    """

    initialise: Callable[[], state_lib.TrainState]
    train_step: jax.stages.Compiled
    eval_step: jax.stages.Compiled


def compile_programs(
    job: job_lib.Job, train_step: jax.stages.Compiled | None = None
) -> Programs:
    """Compiles the functions of a run.

    Args:
        job: the run.
        train_step: the train step, if it is compiled already.
    """
    config, placement = job.config, job.placement
    batch = placement.abstract_batch(job.model, job.source.shape)
    return Programs(
        initialise=functools.partial(
            # Not a constant of the program, which runs with other seeds then share.
            jax.jit(
                lambda seed: state_lib.initialise(job.model, job.optimizer, seed),
                out_shardings=placement.state_shardings,
            ),
            np.uint32(config.seed),
        ),
        train_step=train_step or lower_train_step(job).compile(),
        eval_step=placement.lower(
            validation.row_losses(job.model, config.num_microbatches),
            placement.state.params,
            batch,
            out_shardings=placement.whole,
        ).compile(),
    )


def lower_train_step(job: job_lib.Job) -> jax.stages.Lowered:
    """Lowers the train step of a run.

    Args:
        job: the run.
    """
    config, placement = job.config, job.placement
    step = state_lib.make_train_step(
        job.model,
        job.optimizer,
        job.schedule,
        seed=config.seed,
        z_loss=config.z_loss,
        num_microbatches=config.num_microbatches,
        health_every_steps=config.log.health_every_steps,
    )
    batch = placement.abstract_batch(job.model, job.source.shape)
    flag = stop.abstract_flag(placement.mesh)
    return placement.lower_train_step(stop.with_flag(step), batch | flag)
