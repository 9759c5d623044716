"""The training state on the device, and the pure train step that updates it.

Shapes: B batch, M microbatches.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer import kernels
from clinometer import models
from clinometer.models import keys
from clinometer.train import health
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import schedules


class TrainState(NamedTuple):
    """Everything that a train step updates.

    Attributes:
        step: int32 scalar, number of completed steps, and so the index of the next
            batch.
        params: float32 parameters, stacked if the model scans its layers.
        optimizer: the optimizer state, `{module: {name: state of that leaf}}`.
    """

    step: jax.Array
    params: Any
    optimizer: Any


class StepMetrics(NamedTuple):
    """Metrics of one train step, on the device.

    Attributes:
        loss: sums over the targets of the batch.
        auxiliary_loss: float32 scalar, the model's auxiliary loss, mean over
            microbatches.
        learning_rate: float32 scalar.
        gradient_rms: float32 scalar, RMS over the elements of all gradients.
        health: float32 [groups, quantities] from `health.measure` at health steps,
            zeros at others; [0, 3] if health is never measured.
        model_health: {name: array}, the model's own health metrics on the first
            microbatch at health steps, zeros at others; empty if never measured.
    """

    loss: models.Loss
    auxiliary_loss: jax.Array
    learning_rate: jax.Array
    gradient_rms: jax.Array
    health: jax.Array
    model_health: dict[str, jax.Array]


def initialise(
    model: models.Model, optimizer: optimizer_lib.Optimizer, seed: int | jax.Array
) -> TrainState:
    """Returns the state at step 0; traceable.

    Args:
        model: the model.
        optimizer: see `optimizer.make`.
        seed: seed of the run, from which the parameters are drawn; may be traced.
    """
    params = model.from_canonical(model.init(keys.fold(jax.random.key(seed), "init")))
    return TrainState(jnp.zeros([], jnp.int32), params, optimizer.init(params))


def num_devices(state: TrainState) -> int:
    """Returns the number of devices that hold a part of the state."""
    return len({d for leaf in jax.tree.leaves(state) for d in leaf.sharding.device_set})


def make_train_step(
    model: models.Model,
    optimizer: optimizer_lib.Optimizer,
    schedule: schedules.Schedule,
    *,
    seed: int,
    z_loss: float,
    num_microbatches: int = 1,
    health_every_steps: int = 0,
) -> Callable[[TrainState, models.Batch], tuple[TrainState, StepMetrics]]:
    """Returns the pure step (state, batch) -> (state, metrics).

    The objective is that of T5 (ARCHITECTURES.md#training-loss): the cross-entropy and
    z-loss, summed over the targets that are not padding and divided by the number of
    target positions, padding included, plus the model's auxiliary loss, averaged over
    microbatches. The dropout key is derived from (seed, "dropout", step), and from the
    index of the microbatch if there are several.

    Args:
        model: the model; its config sets dropout, precision and scanning.
        optimizer: see `optimizer.make`.
        schedule: function from the 0-based step to the learning rate.
        seed: seed of the run.
        z_loss: weight of the z-loss.
        num_microbatches: number of microbatches whose gradients are accumulated.
        health_every_steps: number of steps between health measurements; 0 disables
            them.
    """

    def objective(
        params: Any, part: models.Batch, dropout_key: jax.Array
    ) -> tuple[jax.Array, tuple[models.Loss, jax.Array]]:
        outputs = model.loss(params, part, dropout_key, z_loss=z_loss)
        auxiliary_loss = outputs.auxiliary_loss / num_microbatches
        num_targets = outputs.num_targets * num_microbatches  # Of the whole batch.
        mean = (outputs.sums.loss_sum + outputs.sums.z_loss_sum) / num_targets
        return mean + auxiliary_loss, (outputs.sums, auxiliary_loss)

    gradient_of = jax.grad(objective, has_aux=True)

    def gradients_of(
        params: Any, batch: models.Batch, dropout_key: jax.Array
    ) -> tuple[Any, tuple[models.Loss, jax.Array]]:
        if num_microbatches == 1:
            return gradient_of(params, batch, dropout_key)
        parts = parts_of(batch, num_microbatches)

        def add(total: Any, numbered_part: Any) -> tuple[Any, None]:
            index, part = numbered_part
            result = gradient_of(params, part, keys.fold(dropout_key, index))
            return jax.tree.map(jnp.add, total, result), None

        first = jax.tree.map(lambda x: x[0], parts)
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(gradient_of, params, first, dropout_key),
        )
        total, _ = jax.lax.scan(add, zeros, (jnp.arange(num_microbatches), parts))
        return total

    def train_step(
        state: TrainState, batch: models.Batch
    ) -> tuple[TrainState, StepMetrics]:
        dropout_key = keys.fold(jax.random.key(seed), "dropout", state.step)
        gradients, losses = gradients_of(state.params, batch, dropout_key)
        learning_rate = jnp.asarray(schedule(state.step), jnp.float32)
        updates, optimizer_state = optimizer.update(
            gradients, state.optimizer, state.params, learning_rate
        )
        params = jax.tree.map(jnp.add, state.params, updates)
        next_step = state.step + 1
        measured = jnp.zeros([0, len(health.QUANTITIES)], jnp.float32), {}
        if health_every_steps:

            def measure() -> tuple[jax.Array, dict[str, jax.Array]]:
                part, key = batch, dropout_key
                if num_microbatches > 1:
                    parts = parts_of(batch, num_microbatches)
                    part = jax.tree.map(lambda x: x[0], parts)
                    key = keys.fold(dropout_key, 0)
                outputs = model.loss(state.params, part, key, collect_health=True)
                return (
                    health.measure(state.params, gradients, updates),
                    outputs.health,
                )

            measured = jax.lax.cond(
                next_step % health_every_steps == 0,
                measure,
                lambda: jax.tree.map(
                    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure)
                ),
            )
        return (
            TrainState(next_step, params, optimizer_state),
            StepMetrics(*losses, learning_rate, health.rms(gradients), *measured),
        )

    return train_step


def parts_of(batch: models.Batch, num_microbatches: int) -> dict[str, jax.Array]:
    """Splits a batch into microbatches of adjacent rows: [B, ...] -> [M, B / M, ...].

    On a mesh, each microbatch is divided over all devices. The rows that a microbatch
    holds don't depend on the mesh; rows move between devices instead.

    Args:
        batch: arrays [B, ...].
        num_microbatches: M, which divides B.
    """

    def split(x: jax.Array) -> jax.Array:
        parts = x.reshape(num_microbatches, -1, *x.shape[1:])
        # Otherwise the compiler divides the microbatches, of which one is used at once.
        return kernels.constrain(parts, (None, "batch") + (None,) * (x.ndim - 1))

    return {name: split(x) for name, x in batch.items()}
