"""The contract between a model and whoever trains, plans or measures it.

A trainer needs no more than this: it hands batches from the data to the model, and
knows neither their keys nor what the model computes. `seq2seq/model.py` has the
encoder-decoders; `tests/train/test_toy_image_model.py` has a model of images.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple
from typing import Protocol

import jax

# {module: {name: float32 array}}, with a module name per layer in the canonical form.
Params = Mapping[str, Mapping[str, jax.Array]]
# {name: array [B, ...]}, one example a row in all of them.
Batch = Mapping[str, jax.Array]
# What one example is like, such as its lengths: a frozen dataclass that the source of
# the data gives and the model understands; opaque to all between.
Shape = Any


class Loss(NamedTuple):
    """Sums over the targets of a batch; float32 scalars.

    Attributes:
        loss_sum: cross-entropy in nats.
        z_loss_sum: z_loss times the squared log-partition.
        weight_sum: number of targets, padding left out: tokens, or labels.
        correct_sum: number of targets that the model ranks first.
    """

    loss_sum: jax.Array
    z_loss_sum: jax.Array
    weight_sum: jax.Array
    correct_sum: jax.Array


class LossOutputs(NamedTuple):
    """What `Model.loss` returns.

    The objective of a batch is `(loss_sum + z_loss_sum) / num_targets`, plus
    `auxiliary_loss`.

    Attributes:
        sums: over the targets.
        num_targets: places of targets, padding included (T5's B T); static.
        auxiliary_loss: float32 scalar, such as the balance of routers; 0 for most.
        health: {"PLACE/NAME": array}, what the model reports of itself.
    """

    sums: Loss
    num_targets: int
    auxiliary_loss: jax.Array
    health: dict[str, jax.Array]


class Counts(Protocol):
    """What a model costs, for batches of one size and shape.

    Attributes:
        params_total: number of parameters.
        flops_train_step: algorithmic FLOPs of a whole batch, forward and backward.
    """

    params_total: int
    flops_train_step: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all counts as the record of a run holds them."""


class Model(Protocol):
    """Pure functions over a parameter dictionary.

    Attributes:
        name: canonical name, e.g. "transformer-NL16-SM".
        config: frozen dataclass that decides the numbers; its `dtype` is that of
            activations, "float32" or "bfloat16".
    """

    name: str
    config: Any

    def init(self, key: jax.Array) -> Params:
        """Draws parameters in canonical form, in which checkpoints hold them."""

    def from_canonical(self, params: Params) -> Params:
        """Returns parameters in the form that `loss` takes; traceable."""

    def abstract_batch(
        self, batch_size: int, shape: Shape
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns shapes and dtypes of a batch of `batch_size` examples."""

    def random_batch(
        self, seed: int, batch_size: int, shape: Shape
    ) -> dict[str, jax.Array]:
        """Returns a batch of random examples without padding, to measure speed with."""

    def loss(
        self,
        params: Params,
        batch: Batch,
        key: jax.Array | None = None,
        *,
        z_loss: float = 0.0,
        collect_health: bool = False,
    ) -> LossOutputs:
        """Returns the summed losses of a batch.

        Args:
            params: as `from_canonical` returns them.
            batch: of any number of examples.
            key: random key of this step, for dropout; None evaluates without it.
            z_loss: weight of the z-loss.
            collect_health: measure also what costs too much for every step.
        """

    def check(self, shape: Shape) -> None:
        """Raises `ConfigError` unless the model takes examples of this shape."""

    def count(self, batch_size: int, shape: Shape) -> Counts:
        """Counts parameters and FLOPs; allocates and compiles nothing.

        Raises:
            ConfigError: as `check`.
        """


def abstract_params(model: Model) -> Params:
    """Returns shapes and dtypes of the parameters that `model.loss` takes."""
    return jax.eval_shape(
        lambda key: model.from_canonical(model.init(key)), jax.random.key(0)
    )
