"""Trains models on meshes of eight devices and on one, in a process with eight.

`run` starts the process. Shapes: B batch, S and T lengths of 64 and 29, images of
12 x 20 pixels.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import json
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer import models
from clinometer.tests.kernels import child
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement as placement_lib
from clinometer.train.sharding import rules

_FLAGS = "--xla_force_host_platform_device_count=8"
_VOCAB_SIZE = 512
_SHAPE = models.TextShape(64, 29)
_IMAGE_SHAPE = models.ImageShape(12, 20)
_STEPS = 8
_RANDOM = 8  # Changes of the parameters at random.
_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
# Fields with which the `-pico` models fit the meshes of the tests: a group for each
# sequence, a gated width that is even, S, and the size of an image.
FITTING = {
    "switch": {"sequences_per_group": 1},
    "glu": {"d_ff": 96},
    "mixer": {"sequence_length": _SHAPE.encoder_length},
    "vit": {
        "image_height": _IMAGE_SHAPE.height,
        "image_width": _IMAGE_SHAPE.width,
        "patch_size": 4,
        "num_classes": 6,
    },
}
# Adafactor divides by the root mean square of gradients, so that its steps are large
# from the start; this rate is that of warm-up in training.
_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to compare.

    Attributes:
        name: name of the model.
        meshes: sizes of the axes data, fsdp, expert and model of each mesh.
        overrides: fields of the model's config.
        num_microbatches: number of microbatches.
        batch_size: B.
        steps: number of steps to compare, after the first.
    """

    name: str
    meshes: Sequence[Sequence[int]]
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_microbatches: int = 1
    batch_size: int = 8
    steps: int = _STEPS


def run(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Compares cases in a new process; returns the result of each.

    A result has `own`, the relative changes of the last parameters of one device when
    all parameters change by one unit in the last place before the first step, once up
    and then up or down at random; `own_gradient` and `own_gradients`, the largest
    change of the first gradient, and of that of each parameter by its path; `drawn`,
    the number of dropout masks; and for each mesh in `meshes`: `loss` and `gradient`,
    relative errors of the first step; `gradients`, that of each parameter; `last`, that
    of the parameters after all steps; `flops`, those of a device as a multiple of its
    share; `parts`, into how many the largest parameter is divided; the number of each
    collective; and `masks`, whether the dropout masks are those of one device.
    """
    code = "from clinometer.tests.train.sharding import eight_devices as e; e.main()"
    described = json.dumps([dataclasses.asdict(case) for case in cases])
    return child.printed(
        child.run(
            f"import sys; sys.argv[1:] = [{described!r}]; {code}", XLA_FLAGS=_FLAGS
        )
    )


def main() -> None:
    """Runs the cases in the argument and prints their results as JSON."""
    cases = [Case(**case) for case in json.loads(sys.argv[1])]
    print(json.dumps([_compare(case) for case in cases]))


def _compare(case: Case) -> dict[str, Any]:
    one, *nudged = _train(case, (1, 1, 1, 1), (None, _up, *[_up_or_down] * _RANDOM))
    result: dict[str, Any] = {
        "own": [_distance(run.params, one.params) for run in nudged],
        "own_gradient": max(_whole_distance(run, one) for run in nudged),
        "own_gradients": {
            name: max(_distance(run.gradients[name], gradient) for run in nudged)
            for name, gradient in one.gradients.items()
        },
        "drawn": len(one.masks),
        "meshes": [],
    }
    for sizes in case.meshes:
        (many,) = _train(case, sizes)
        result["meshes"].append(
            {
                "loss": abs(many.loss - one.loss) / one.loss,
                "gradient": _whole_distance(many, one),
                "gradients": {
                    name: _distance(many.gradients[name], gradient)
                    for name, gradient in one.gradients.items()
                },
                "last": _distance(many.params, one.params),
                "flops": many.flops * int(np.prod(sizes)) / one.flops,
                "masks": many.masks == one.masks,
                "parts": many.parts,
                **many.collectives,
            }
        )
    return result


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the relative distance of arrays, in the Euclidean norm."""
    return float(np.linalg.norm(found - expected) / (np.linalg.norm(expected) or 1.0))


@dataclasses.dataclass(frozen=True)
class _Run:
    loss: float  # Of the first step.
    gradients: dict[str, np.ndarray]  # Of the first step, by path of the parameter.
    params: np.ndarray  # After the last step.
    masks: list[int]  # Hashes of all dropout masks of the first step.
    flops: float
    collectives: dict[str, int]
    parts: int  # Of the largest parameter.


def _whole_distance(run: _Run, expected: _Run) -> float:
    """Returns the relative distance of the first gradient as a whole."""
    found, other = (
        np.concatenate([np.ravel(x) for x in one.gradients.values()])
        for one in (run, expected)
    )
    return _distance(found, other)


_Nudge = Callable[[jax.Array, np.random.Generator], jax.Array]


def _train(
    case: Case, sizes: Sequence[int], nudges: Sequence[_Nudge | None] = (None,)
) -> list[_Run]:
    """Trains once for each of `nudges`, which change the initial parameters."""
    of_images = models.takes_images(case.name)
    texts = {} if of_images else {"vocab_size": _VOCAB_SIZE}
    model = models.build(case.name, **texts, **case.overrides)
    config = pretrain.get_config().optimizer
    config.min_dim_size_to_factor = 16  # Factored slots, as of larger models.
    optimizer = _keeping_gradients(optimizer_lib.make(config))
    found = mesh_lib.Sizes(*sizes)
    placed = placement_lib.make(
        model,
        jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0)),
        rules.DEFAULT,
        lambda greatest: found,
        case.batch_size,
        lambda sizes: mesh_lib.make(sizes, jax.devices()[: sizes.devices]),
    )
    step = state_lib.make_train_step(
        model,
        optimizer,
        lambda _: _RATE,
        seed=0,
        z_loss=1e-4,
        num_microbatches=case.num_microbatches,
    )
    with _Masks() as masks:
        compiled = placed.lower_train_step(
            step,
            placed.abstract_batch(model, _IMAGE_SHAPE if of_images else _SHAPE),
        ).compile()
        initialise = jax.jit(
            lambda: state_lib.initialise(model, optimizer, seed=0),
            out_shardings=placed.state_shardings,
        )
        runs = []
        for index, nudge in enumerate(nudges):
            state = initialise()
            if nudge:
                change = functools.partial(nudge, rng=np.random.default_rng(index))
                state = state._replace(params=jax.tree.map(change, state.params))
            runs.append(_run(case, placed, compiled, state, masks))
    return runs


def _up(x: jax.Array, rng: np.random.Generator) -> jax.Array:
    del rng
    return jnp.nextafter(x, jnp.inf)


def _up_or_down(x: jax.Array, rng: np.random.Generator) -> jax.Array:
    return jnp.nextafter(x, rng.choice(np.float32([-np.inf, np.inf]), x.shape))


def _run(
    case: Case,
    placed: placement_lib.Placement,
    compiled: jax.stages.Compiled,
    state: state_lib.TrainState,
    masks: list[int],
) -> _Run:
    masks.clear()
    loss, gradients, drawn = 0.0, {}, []
    for index in range(1 + case.steps):
        state, metrics = compiled(state, placed.put(_batch(case, index)))
        if index == 0:
            loss = float(metrics.loss.loss_sum / metrics.loss.weight_sum)
            gradients = _gradients(state)
            jax.effects_barrier()
            drawn = sorted(set(masks))
    text = compiled.as_text()
    largest = max(jax.tree.leaves(state.params), key=lambda leaf: leaf.size)
    shard = largest.sharding.shard_shape(largest.shape)
    return _Run(
        loss,
        gradients,
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(state.params)], None),
        drawn,
        compiled.cost_analysis()["flops"],
        {
            kind: len(re.findall(rf" {kind}(?:-start)?\(", text))
            for kind in _COLLECTIVES
        },
        largest.size // int(np.prod(shard)),
    )


def _batch(case: Case, index: int) -> dict[str, np.ndarray]:
    """Returns random images, or random tokens with padding at the end of a row."""
    rng = np.random.default_rng(index)
    if models.takes_images(case.name):
        shape = (case.batch_size, _IMAGE_SHAPE.height, _IMAGE_SHAPE.width, 3)
        labels = rng.integers(0, case.overrides["num_classes"], case.batch_size)
        return models.image_batch.make(rng.integers(0, 256, shape, np.uint8), labels)
    lengths = _SHAPE.encoder_length, _SHAPE.decoder_length
    inputs, targets = (
        rng.integers(1, _VOCAB_SIZE, (case.batch_size, length)) for length in lengths
    )
    inputs[1, 40:], targets[1, 20:] = 0, 0
    return models.batch.make(inputs.astype(np.int32), targets.astype(np.int32))


def _keeping_gradients(inner: optimizer_lib.Optimizer) -> optimizer_lib.Optimizer:
    """Returns an optimizer whose state also holds the latest gradients."""

    def init(params: Any) -> Any:
        return {
            module: {name: (slots, params[module][name]) for name, slots in of.items()}
            for module, of in inner.init(params).items()
        }

    def update(gradients: Any, state: Any, params: Any, rate: Any) -> Any:
        slots = {m: {n: pair[0] for n, pair in of.items()} for m, of in state.items()}
        updates, slots = inner.update(gradients, slots, params, rate)
        kept = {
            module: {name: (of[name], gradients[module][name]) for name in of}
            for module, of in slots.items()
        }
        return updates, kept

    return optimizer_lib.Optimizer(init, update)


def _gradients(state: state_lib.TrainState) -> dict[str, np.ndarray]:
    return {
        f"{module}/{name}": np.asarray(gradient, np.float64)
        for module, leaves in state.optimizer.items()
        for name, (_, gradient) in leaves.items()
    }


class _Masks(list):
    """A context in which the hash of each mask that is drawn is added to the list."""

    def __enter__(self) -> "_Masks":
        self._draw = jax.random.bernoulli

        def draw(key: jax.Array, p: Any, shape: Any) -> jax.Array:
            mask = self._draw(key, p, shape)
            place = jnp.arange(mask.size, dtype=jnp.uint32).reshape(mask.shape)
            hashed = jnp.sum(mask * (place * jnp.uint32(2654435761)), dtype=jnp.uint32)
            jax.debug.callback(lambda value: self.append(int(value)), hashed)
            return mask

        jax.random.bernoulli = draw
        return self

    def __exit__(self, *unused: object) -> None:
        jax.random.bernoulli = self._draw
