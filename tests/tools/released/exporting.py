"""A run made of a release, and the same run after one training step."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp

from clinometer import models
from clinometer.tools import cli
from clinometer.train import initial
from clinometer.train import state as state_lib
from clinometer.train.run import directory as run_directory


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run with the checkpoints of steps 0 and 1; the parameters of step 1."""

    run: pathlib.Path
    model: models.EncoderDecoder
    params: dict


def converted(release: pathlib.Path, run: pathlib.Path) -> pathlib.Path:
    """Converts a release to a run."""
    assert cli.main(["convert", "--from", str(release), "--to", str(run)]) == 0
    return run


def trained(run: pathlib.Path) -> Trained:
    """Adds the checkpoint of one step of gradient descent to a converted run."""
    model, optimizer = initial.built(initial.read_record(run))
    state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, 0))
    directory = run_directory.RunDirectory(run)
    reader = directory.checkpoints(read_only=True)
    params = reader.read(0, state._replace(optimizer={})).params
    batch = model.random_batch(0, 2, models.TextShape(9, 5))

    def objective(params):
        outputs = model.loss(params, batch)
        return outputs.sums.loss_sum + outputs.auxiliary_loss

    gradient = jax.jit(jax.grad(objective))(params)
    # Decay moves the rows of tokens that the batch lacks.
    stepped = jax.tree.map(lambda p, g: 0.99 * p - 0.01 * g, params, gradient)
    checkpoints = directory.checkpoints(keep_last=2)
    step = state_lib.TrainState(jnp.ones([], jnp.int32), stepped, {})
    checkpoints.save(1, step, identity={}, progress={}, unchanged=True)
    checkpoints.close()
    return Trained(run, model, stepped)
