"""Says what train steps on eight devices send to each other, in a process with eight.

`run` starts the process, which compiles train steps and runs nothing. Shapes: B batch,
S and T lengths of 120 and 36, which no axis of a parameter has.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import json
import re
import sys
from typing import Any
from unittest import mock

import jax

from clinometer import models
from clinometer.tests.kernels import child
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement as placement_lib
from clinometer.train.sharding import rules

_FLAGS = "--xla_force_host_platform_device_count=8"
SHAPE = models.TextShape(120, 36)
_KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_INSTRUCTION = re.compile(rf" = (.*?) ({'|'.join(_KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Case:
    """A train step to compile.

    Attributes:
        name: name of the model.
        sizes: sizes of the axes data, fsdp, expert and model.
        overrides: fields of the model's config.
        num_microbatches: number of microbatches.
        constrained: whether `kernels.constrain` has an effect.
        batch_size: B.
    """

    name: str
    sizes: Sequence[int]
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_microbatches: int = 1
    constrained: bool = True
    batch_size: int = 16


def run(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Compiles cases in a new process; returns the result of each.

    A result has `flops`, those of a device as a multiple of an eighth of one device's;
    `kinds`, how often each kind of collective moves numbers; and `activations`, [kind,
    shape] of each result of a collective, but of sums, that is part of an activation:
    that is no vector and has no shape of a parameter or of a part of it.
    """
    code = "from clinometer.tests.train.sharding import collectives as c; c.main()"
    described = json.dumps([dataclasses.asdict(case) for case in cases])
    return child.printed(
        child.run(
            f"import sys; sys.argv[1:] = [{described!r}]; {code}", XLA_FLAGS=_FLAGS
        )
    )


def main() -> None:
    """Runs the cases in the argument and prints their results as JSON."""
    cases = [Case(**case) for case in json.loads(sys.argv[1])]
    print(json.dumps([_measure(case) for case in cases]))


def _measure(case: Case) -> dict[str, Any]:
    _, one = _compile(case, (1, 1, 1, 1))
    with contextlib.nullcontext() if case.constrained else _unconstrained():
        placed, many = _compile(case, case.sizes)
    known = set(_shapes_of_parameters(placed))
    kinds: dict[str, int] = {}
    activations = []
    for kind, dtype, shape in _collectives(many.as_text()):
        if dtype.startswith(("s", "u", "pred")):
            continue  # Tokens, which microbatches divide anew.
        kinds[kind] = kinds.get(kind, 0) + 1
        if kind != "all-reduce" and len(shape) > 1 and shape not in known:
            activations.append([kind, shape])
    flops, whole = (x.cost_analysis()["flops"] for x in (many, one))
    return {
        "flops": flops * placed.sizes.devices / whole,
        "kinds": kinds,
        "activations": activations,
    }


def _compile(case: Case, sizes: Sequence[int]) -> tuple[placement_lib.Placement, Any]:
    # The C++ kernels hide their FLOPs from XLA.
    model = models.build(
        case.name, vocab_size=512, implementation="reference", **case.overrides
    )
    config = pretrain.get_config().optimizer
    config.min_dim_size_to_factor = 16  # Factored slots, as of larger models.
    optimizer = optimizer_lib.make(config)
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
        lambda _: 0.01,
        seed=0,
        z_loss=1e-4,
        num_microbatches=case.num_microbatches,
    )
    lowered = placed.lower_train_step(step, placed.abstract_batch(model, SHAPE))
    return placed, lowered.compile()


def _shapes_of_parameters(
    placed: placement_lib.Placement,
) -> Iterator[tuple[int, ...]]:
    """Yields the shapes of a device's parts of parameters, from part to whole."""
    for leaf in jax.tree.leaves(placed.state.params):
        part = leaf.sharding.shard_shape(leaf.shape)
        for shape in itertools.product(*map(set, zip(part, leaf.shape, strict=True))):
            yield _sorted(shape)
            yield _sorted(shape[1:])  # Of one layer of a stack.


def _collectives(text: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yields kind, dtype and shape of the results of a program's collectives."""
    for results, kind in _INSTRUCTION.findall(text):
        for dtype, sizes in _ARRAY.findall(results):
            yield kind, dtype, _sorted(int(size) for size in sizes.split(",") if size)


def _sorted(shape: Any) -> tuple[int, ...]:
    """Returns a shape up to transposition, without axes of one element."""
    return tuple(sorted(size for size in shape if size > 1))


def _unconstrained() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which `constrain` has no effect."""
    return mock.patch.object(jax.lax, "with_sharding_constraint", lambda x, sharding: x)
