"""Shardings of the training state and of batches over a mesh."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import math
from typing import Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from clinometer import models
from clinometer.models.layers import parameters
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import rules as rules_lib

# optax's factored second moments of the rows keep the first of two equal dimensions.
_KEEPS_FIRST = "v_row"


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a run's arrays are.

    Attributes:
        mesh: the mesh of devices.
        sizes: numbers of devices along the axes of the mesh.
        rules: the partition rules.
        axes: {module: {name: axis names}}, in the form of the parameters.
        state: shapes, dtypes and shardings of the training state.
        batch_size: B, over all processes.
    """

    mesh: jax.sharding.Mesh
    sizes: mesh_lib.Sizes
    rules: rules_lib.Rules
    axes: Mapping[str, Mapping[str, rules_lib.Axes]]
    state: state_lib.TrainState
    batch_size: int

    @property
    def state_shardings(self) -> state_lib.TrainState:
        """The shardings of the training state."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.state)

    @property
    def batch(self) -> NamedSharding:
        """The sharding of the arrays of a batch, whose leading axis is B."""
        return NamedSharding(self.mesh, PartitionSpec(mesh_lib.BATCH_AXES))

    @property
    def whole(self) -> NamedSharding:
        """The sharding of arrays that every device holds."""
        return NamedSharding(self.mesh, PartitionSpec())

    @functools.cached_property
    def local_rows(self) -> list[int]:
        """The rows of a batch that this process's devices hold, ascending."""
        held = self.batch.addressable_devices_indices_map((self.batch_size,)).values()
        rows = {i for (part,) in held for i in range(*part.indices(self.batch_size))}
        return sorted(rows)

    def put(self, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts this process's rows of a batch on its devices.

        Args:
            rows: arrays whose leading axis is that of `local_rows`.
        """
        if not self.mesh.is_multi_process:
            return jax.device_put(dict(rows), self.batch)
        place = {row: index for index, row in enumerate(self.local_rows)}
        return self._put(rows, lambda first: place[first])

    def put_whole(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts a batch that every process has whole on the devices.

        Args:
            batch: arrays [B, ...].
        """
        if not self.mesh.is_multi_process:
            return jax.device_put(dict(batch), self.batch)
        return self._put(batch, lambda first: first)

    def _put(
        self, arrays: Mapping[str, np.ndarray], place: Callable[[int], int]
    ) -> dict[str, jax.Array]:
        def put(x: np.ndarray) -> jax.Array:
            def part(index: tuple[slice, ...]) -> np.ndarray:
                first, last, _ = index[0].indices(self.batch_size)
                start = place(first)
                return x[start : start + last - first]

            shape = (self.batch_size, *x.shape[1:])
            return jax.make_array_from_callback(shape, self.batch, part)

        return {name: put(x) for name, x in arrays.items()}

    def abstract_batch(
        self, model: models.Model, shape: models.Shape
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes, dtypes and shardings of a batch.

        Args:
            model: the model.
            shape: shape of an example.
        """
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self.batch
            ),
            dict(model.abstract_batch(self.batch_size, shape)),
        )

    def lower(
        self, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> jax.stages.Lowered:
        """Lowers a function of a model for the mesh.

        Args:
            function: the function.
            *arguments: shapes, dtypes and shardings of its arguments.
            **options: options of `jax.jit`.
        """
        with mesh_lib.shard_over(self.mesh):
            return jax.jit(function, **options).lower(*arguments)

    def lower_train_step(
        self, step: Callable[..., Any], batch: Mapping[str, jax.ShapeDtypeStruct]
    ) -> jax.stages.Lowered:
        """Lowers a train step, which takes over the memory of the state.

        Args:
            step: from `state.make_train_step`.
            batch: from `abstract_batch`.
        """
        return self.lower(
            step,
            self.state,
            batch,
            out_shardings=(self.state_shardings, self.whole),
            donate_argnums=0,
        )


def make(
    model: models.Model,
    abstract_state: state_lib.TrainState,
    rules: rules_lib.Rules,
    sizes_for: Callable[[Mapping[str, int]], mesh_lib.Sizes],
    batch_size: int,
    make_mesh: Callable[[mesh_lib.Sizes], jax.sharding.Mesh] = mesh_lib.make,
) -> Placement:
    """Places the training state of a model on a mesh; allocates nothing.

    An optimizer slot follows its parameter. A factored slot lacks the axis over which
    it is reduced; the placeholders of size 1 that optax has in its stead are whole.

    Args:
        model: the model.
        abstract_state: shapes and dtypes of the training state.
        rules: the partition rules.
        sizes_for: returns the sizes of the mesh, given for each mesh axis the greatest
            number of parts that it can divide this model into, whose divisors are
            possible as well; 0 for any number.
        batch_size: B, over all processes.
        make_mesh: makes a mesh of given sizes.

    Raises:
        ConfigError: the rules do not fit a parameter, or a mesh axis does not divide an
            axis of it.
    """
    axes = model.param_axes()
    if any(models.is_stacked(module) for module in abstract_state.params):
        axes = models.stack_axes(axes)
    divided = _divided(model, abstract_state.params, axes, rules)
    sizes = sizes_for({place: math.gcd(*found) for place, found in divided.items()})
    _check_divides(divided, sizes)
    mesh = make_mesh(sizes)

    def placed(leaf: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec)
        )

    params, optimizer = {}, {}
    for module, leaves in abstract_state.params.items():
        params[module], optimizer[module] = {}, {}
        for name, leaf in leaves.items():
            spec = rules.spec(axes[module][name])
            params[module][name] = placed(leaf, spec)
            optimizer[module][name] = jax.tree_util.tree_map_with_path(
                lambda path, slot, leaf=leaf, spec=spec: placed(
                    slot, slot_spec(path, slot.shape, leaf.shape, spec)
                ),
                abstract_state.optimizer[module][name],
            )
    step = placed(abstract_state.step, PartitionSpec())
    state = state_lib.TrainState(step, params, optimizer)
    return Placement(mesh, sizes, rules, axes, state, batch_size)


def slot_spec(
    path: jax.tree_util.KeyPath,
    shape: tuple[int, ...],
    parameter_shape: tuple[int, ...],
    spec: PartitionSpec,
) -> PartitionSpec:
    """Returns the partition spec of an optimizer slot.

    Args:
        path: path of the slot in the optimizer state of its parameter.
        shape: shape of the slot.
        parameter_shape: shape of the parameter.
        spec: partition spec of the parameter, with an entry for each axis.
    """
    if shape == parameter_shape:
        return spec
    dropped = [
        axis
        for axis in range(len(parameter_shape))
        if shape == parameter_shape[:axis] + parameter_shape[axis + 1 :]
    ]
    if not dropped:  # A counter or a placeholder.
        return PartitionSpec()
    # Of equal dimensions, rows keep the first and columns the last.
    axis = dropped[-1] if _KEEPS_FIRST in jax.tree_util.keystr(path) else dropped[0]
    return PartitionSpec(*spec[:axis], *spec[axis + 1 :])


def _divided(
    model: models.Model,
    params: Any,
    axes: Mapping[str, Mapping[str, rules_lib.Axes]],
    rules: rules_lib.Rules,
) -> dict[str, dict[int, str]]:
    """Returns {mesh axis: {size that it must divide: where this size occurs}}."""
    divided: dict[str, dict[int, str]] = {axis: {} for axis in mesh_lib.AXES}
    heads = getattr(model.config, "num_heads", None)
    if heads:
        divided["model"][heads] = "num_heads"
    for module, leaves in params.items():
        for name, leaf in leaves.items():
            own = axes[module][name]
            places = rules.places(own)
            for axis, place, size in zip(own, places, leaf.shape, strict=True):
                if place is not None:
                    where = f"axis {axis} ({parameters.AXES[axis]}) of {module}/{name}"
                    divided[place].setdefault(size, where)
    return divided


def _check_divides(
    divided: Mapping[str, Mapping[int, str]], sizes: mesh_lib.Sizes
) -> None:
    """Raises ConfigError unless each mesh axis divides the sizes that it must."""
    for place, found in divided.items():
        parts = getattr(sizes, place)
        for size, where in found.items():
            if size % parts:
                most = math.gcd(*found)
                fit = ", ".join(str(n) for n in range(1, most + 1) if most % n == 0)
                raise errors.ConfigError(
                    f"config.mesh.{place}: {parts} does not divide the {size:,} of "
                    f"{where}; accepted for this model: {fit}"
                )
