"""The interface between a model and the code that trains, plans or measures it.

The training loop needs nothing else: it passes batches from the data to the model, and
knows neither their keys nor what the model computes. `seq2seq/model.py` implements it
for encoder-decoders, `tests/train/test_toy_image_model.py` for a model of images.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple
from typing import Protocol

import jax

# {module: {name: float32 array}}; in canonical form, each layer has its own modules.
Params = Mapping[str, Mapping[str, jax.Array]]
# {name: array [B, ...]}, with one example per row.
Batch = Mapping[str, jax.Array]
# The shape of one example, such as its lengths: a frozen dataclass that the data source
# provides and the model understands. All other code treats it as opaque.
Shape = Any


class Loss(NamedTuple):
    """Losses summed over targets: of a batch, float32 scalars, or of each row, [B].

    Attributes:
        loss_sum: cross-entropy in nats.
        z_loss_sum: z_loss times the squared log-partition function.
        weight_sum: number of targets (tokens or labels), excluding padding.
        correct_sum: number of targets that the model ranks first.
    """

    loss_sum: jax.Array
    z_loss_sum: jax.Array
    weight_sum: jax.Array
    correct_sum: jax.Array


class LossOutputs(NamedTuple):
    """The outputs of `Model.loss`.

    The objective of a batch is `(loss_sum + z_loss_sum) / num_targets +
    auxiliary_loss`.

    Attributes:
        sums: losses summed over the targets.
        num_targets: number of target positions, including padding (B T, as in T5);
            static.
        auxiliary_loss: float32 scalar, such as a router's load-balancing loss; 0 for
            most models.
        health: {"PLACE/NAME": array}, diagnostics of the model.
    """

    sums: Loss
    num_targets: int
    auxiliary_loss: jax.Array
    health: dict[str, jax.Array]


class Counts(Protocol):
    """The cost of a model for batches of one size and shape.

    Attributes:
        params_total: number of parameters.
        flops_train_step: algorithmic FLOPs of a whole batch, forward and backward.
    """

    params_total: int
    flops_train_step: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all counts, as they are stored in `run.json`."""


class Model(Protocol):
    """A model as pure functions of a parameter dictionary.

    Attributes:
        name: canonical name, e.g. "transformer-NL16-SM".
        config: frozen dataclass that determines the model; its field `dtype` is the
            dtype of activations, "float32" or "bfloat16".
    """

    name: str
    config: Any

    def init(self, key: jax.Array) -> Params:
        """Initialises parameters in canonical form, the form of checkpoints."""

    def param_axes(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Returns the axis names of all parameters in canonical form.

        The rules of `train/sharding/rules.py` divide the parameters by these names.
        """

    def from_canonical(self, params: Params) -> Params:
        """Converts canonical parameters to the form that `loss` takes; traceable."""

    def abstract_batch(
        self, batch_size: int, shape: Shape
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of a batch of `batch_size` examples."""

    def random_batch(
        self, seed: int, batch_size: int, shape: Shape
    ) -> dict[str, jax.Array]:
        """Returns a batch of random examples without padding, for benchmarks."""

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
            params: parameters in the form returned by `from_canonical`.
            batch: a batch of any number of examples.
            key: random key of this step; None for evaluation, without dropout.
            z_loss: weight of the z-loss.
            collect_health: include diagnostics that are too costly for every step.
        """

    def row_losses(self, params: Params, batch: Batch) -> Loss:
        """Returns the losses of evaluation, summed over the targets of each row.

        They are those of `loss` without dropout and z-loss, with a leading axis [B].

        Args:
            params: parameters in the form returned by `from_canonical`.
            batch: a batch of any number of examples.
        """

    def check(self, shape: Shape) -> None:
        """Raises `ConfigError` unless the model accepts examples of this shape."""

    def check_parts(self, batch_size: int, shape: Shape, parts: int) -> None:
        """Checks that batches can be divided evenly over devices.

        Args:
            batch_size: number of examples that are processed at once: those of a
                microbatch.
            shape: shape of one example.
            parts: number of parts into which the devices divide a batch; 1 checks what
                one device needs.

        Raises:
            ConfigError: the batch cannot be divided; says which sizes or options can.
        """

    def count(self, batch_size: int, shape: Shape) -> Counts:
        """Counts parameters and FLOPs without allocating or compiling anything.

        Args:
            batch_size: number of examples of a batch.
            shape: shape of one example.

        Raises:
            ConfigError: the model does not accept examples of this shape.
        """


def abstract_params(model: Model) -> Params:
    """Returns the shapes and dtypes of the parameters that `model.loss` takes."""
    return jax.eval_shape(
        lambda key: model.from_canonical(model.init(key)), jax.random.key(0)
    )
