"""Branches: runs that go on from the state of another run, their trunk.

A branch keeps the trunk's parameters, optimizer state, step and order of the data, so
that it trains on the batches that the trunk trains on next. Its schedule and its number
of steps may differ. If its schedule gives the trunk's learning rates up to there, it is
the run that its configuration would give from the start.
"""

from collections.abc import Mapping
import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.train import errors
from clinometer.train import initial as initial_lib
from clinometer.train import schedules
from clinometer.train.run import checkpoint_meta

# Fields of a run's identity in which a branch may differ from its trunk.
_FREE = ("schedule.", "train_steps", "initial.")


def checked(
    initial: initial_lib.Initial,
    identity: Mapping[str, Any],
    earlier_identity: Mapping[str, Any],
    schedule: schedules.Schedule,
    train_steps: int,
) -> initial_lib.Initial:
    """Checks that a run can go on from its trunk, and compares their learning rates.

    Args:
        initial: the checkpoint of the trunk, from `initial.find`.
        identity: fields that affect the results of the branch.
        earlier_identity: other accepted values of these fields, as written by earlier
            versions of the code.
        schedule: the schedule of the branch.
        train_steps: number of steps of the branch, those of the trunk included.

    Returns:
        The checkpoint, with `same_rates` set.

    Raises:
        ConfigError: the branch has no steps of its own, or differs from the trunk in a
            field that must be the same; the message names the fields.
    """
    place = f"{initial.run} at step {initial.step}"
    if initial.step >= train_steps:
        raise errors.ConfigError(
            f"config.train_steps: {train_steps} is not more than the step of {place}, "
            "from which the branch starts"
        )
    different = checkpoint_meta.differences(
        _fixed(initial.trunk.identity), _fixed(identity), earlier_identity
    )
    if different:
        raise errors.ConfigError(
            f"config.initial.branch: {place} was trained with other values: "
            f"{different}. A branch may change the schedule, train_steps, and what "
            "does not affect its results"
        )
    first = _first_difference(initial, schedule)
    if first is not None:
        logging.warning(
            "the schedule differs from that of %s from step %d on, so the branch is "
            "not the run that its configuration would give from the start",
            place,
            first,
        )
    return dataclasses.replace(initial, same_rates=first is None)


def _fixed(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in identity.items() if not k.startswith(_FREE)}


def _first_difference(
    initial: initial_lib.Initial, schedule: schedules.Schedule
) -> int | None:
    """Returns the first step before the branch with another learning rate, or None."""
    config = initial.trunk.record.config
    theirs = schedules.make(config.schedule.to_json(), config.train_steps)
    steps = jnp.arange(initial.step)
    own, other = (np.asarray(jax.vmap(each)(steps)) for each in (schedule, theirs))
    return next(iter(np.flatnonzero(own != other).tolist()), None)
