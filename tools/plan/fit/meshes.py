"""Lists the meshes that a model can be divided over, and what a device then holds."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import jax

from clinometer import models
from clinometer.tools.plan import request as request_lib
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement
from clinometer.train.sharding import rules


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A mesh, and the bytes that each of its devices holds.

    Attributes:
        sizes: numbers of devices along the axes.
        state_bytes: of parameters and optimizer slots.
        param_bytes: of parameters.
    """

    sizes: mesh_lib.Sizes
    state_bytes: int
    param_bytes: int


def possible(
    request: request_lib.Request, devices: Sequence[jax.Device]
) -> Iterator[Mesh]:
    """Yields the meshes of all devices that the partition rules allow.

    Args:
        request: the step; axes that its mesh gives keep their sizes.
        devices: the devices.

    Raises:
        ModelNameError, ConfigError: as for `models.build`.
    """
    model = models.build(request.model, **request.model_fields)
    config = pretrain.get_config()
    config.update_from_flattened_dict(request.settings)
    optimizer = optimizer_lib.make(config.optimizer)
    greatest: dict[str, int] = {}

    def all_data(found: Mapping[str, int]) -> mesh_lib.Sizes:
        greatest.update(found)
        return mesh_lib.Sizes(data=len(devices))

    # The rules give the same specs for every mesh.
    placed = placement.make(
        model,
        jax.eval_shape(lambda: state_lib.initialise(model, optimizer, 0)),
        rules.with_overrides(config.mesh.rules),
        all_data,
        request.batch_size,
        lambda sizes: mesh_lib.make(sizes, devices),
    ).state
    for sizes in factorizations(len(devices)):
        given = all(getattr(sizes, axis) == n for axis, n in request.mesh.items())
        divides = all(
            greatest[axis] % getattr(sizes, axis) == 0
            for axis in mesh_lib.AXES
            if axis != "data"
        )
        # Without experts, which 0 stands for, the axis would be another `data`.
        if given and divides and (sizes.expert == 1 or greatest["expert"]):
            yield Mesh(sizes, bytes_of(placed, sizes), bytes_of(placed.params, sizes))


def bytes_of(tree: Any, sizes: mesh_lib.Sizes) -> int:
    """Returns the bytes of a tree that each device of another mesh holds.

    Args:
        tree: abstract arrays with the partition specs of a mesh with the same axes.
        sizes: the other mesh.
    """
    return sum(_bytes_of(leaf, sizes) for leaf in jax.tree.leaves(tree))


def _bytes_of(leaf: jax.ShapeDtypeStruct, sizes: mesh_lib.Sizes) -> int:
    parts = [getattr(sizes, axis) for axis in leaf.sharding.spec if axis is not None]
    return leaf.size * leaf.dtype.itemsize // math.prod(parts)


def factorizations(number: int) -> Iterator[mesh_lib.Sizes]:
    """Yields all meshes of a number of devices.

    Args:
        number: number of devices.
    """
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    for fsdp in divisors:
        for expert in divisors:
            for model in divisors:
                if number % (fsdp * expert * model) == 0:
                    data = number // (fsdp * expert * model)
                    yield mesh_lib.Sizes(data, fsdp, expert, model)


def to_json(mesh: Mesh) -> dict[str, Any]:
    """Returns a mesh as JSON has it.

    Args:
        mesh: the mesh.
    """
    return dataclasses.asdict(mesh)


def from_json(values: dict[str, Any]) -> Mesh:
    """Returns a mesh from JSON.

    Args:
        values: from `to_json`.
    """
    return Mesh(**{**values, "sizes": mesh_lib.Sizes(**values["sizes"])})
