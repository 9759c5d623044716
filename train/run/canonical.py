"""The canonical form of the training state, in which checkpoints store it.

It has one module name per layer, whether or not the model scans its layers. A state and
its canonical form may hold arrays, or anything else that stands for them.
"""

from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp

from clinometer import models
from clinometer.train import state as state_lib


def to_canonical(state: state_lib.TrainState) -> dict[str, Any]:
    """Converts a state, stacked or not, to canonical form; traceable.

    Returns:
        A dict with "step", "params" as `{module: {name: array}}` and "optimizer" as
        `{slot: {module: {name: array}}}`. A slot is one array of the optimizer state of
        a leaf, named by its path in that state.
    """
    slots: dict[str, dict[str, dict[str, Any]]] = {}
    for module, leaves in state.optimizer.items():
        for name, leaf_state in leaves.items():
            for path, array in jax.tree_util.tree_flatten_with_path(leaf_state)[0]:
                slot = slots.setdefault(jax.tree_util.keystr(path), {})
                slot.setdefault(module, {})[name] = array
    return {
        "step": state.step,
        "params": models.unstack_params(state.params),
        "optimizer": {slot: models.unstack_params(t) for slot, t in slots.items()},
    }


def from_canonical(
    tree: Mapping[str, Any],
    like: state_lib.TrainState,
    join: Callable[[list[Any]], Any] = jnp.stack,
) -> state_lib.TrainState:
    """Inverts `to_canonical`.

    Args:
        tree: the canonical form.
        like: a state in the form (stacked or not) wanted.
        join: makes the stacked leaf of the leaves of all layers.
    """
    stacked = any(models.is_stacked(module) for module in like.params)
    form = functools.partial(models.stack_params, join=join) if stacked else dict
    slots = {slot: form(slot_tree) for slot, slot_tree in tree["optimizer"].items()}
    optimizer = {}
    for module, leaves in like.optimizer.items():
        optimizer[module] = {}
        for name, leaf_state in leaves.items():
            paths, treedef = jax.tree_util.tree_flatten_with_path(leaf_state)
            optimizer[module][name] = treedef.unflatten(
                slots[jax.tree_util.keystr(path)][module][name] for path, _ in paths
            )
    return state_lib.TrainState(tree["step"], form(tree["params"]), optimizer)


def map_leaves(
    function: Callable[..., Any],
    state: state_lib.TrainState,
    *others: state_lib.TrainState,
) -> state_lib.TrainState:
    """Applies a function to each leaf of a state.

    Args:
        function: called as `function(leaf, *others, stacked=stacked)`; `stacked` is
            whether the leaf has a leading layer axis.
        state: the state.
        *others: states of the same structure, whose leaves may be trees.
    """

    def over_modules(
        tree: Mapping[str, Any], *others: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            module: jax.tree.map(
                functools.partial(function, stacked=models.is_stacked(module)),
                leaves,
                *(other[module] for other in others),
            )
            for module, leaves in tree.items()
        }

    return state_lib.TrainState(
        function(state.step, *(other.step for other in others), stacked=False),
        over_modules(state.params, *(other.params for other in others)),
        over_modules(state.optimizer, *(other.optimizer for other in others)),
    )


def abstract(state: state_lib.TrainState) -> dict[str, Any]:
    """Returns the shapes, dtypes and shardings of a state in canonical form.

    A leaf of one layer is sharded like the stacked leaf without its layer axis, and a
    leaf without a sharding is placed on the first local device.

    Args:
        state: a state whose leaves may be abstract.
    """
    tree = to_canonical(map_leaves(lambda leaf, stacked: _Abstract(leaf), state))
    return jax.tree.map(lambda leaf: leaf.struct, tree)


class _Abstract:
    """An abstract array that can be indexed, to take one layer of a stack."""

    def __init__(self, leaf: Any):
        sharding = getattr(leaf, "sharding", None)
        if sharding is None:
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        self.struct = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        self.shape = leaf.shape

    def __getitem__(self, layer: int) -> "_Abstract":
        sharding = self.struct.sharding
        if isinstance(sharding, jax.sharding.NamedSharding):
            sharding = jax.sharding.NamedSharding(
                sharding.mesh,
                jax.sharding.PartitionSpec(*sharding.spec[1:]),
                memory_kind=sharding.memory_kind,
            )
        struct = jax.ShapeDtypeStruct(
            self.shape[1:], self.struct.dtype, sharding=sharding
        )
        return _Abstract(struct)


def assemble(
    tree: Mapping[str, Any], like: state_lib.TrainState
) -> state_lib.TrainState:
    """Returns a state of restored arrays, which are freed, in the form of another.

    Each leaf gets new buffers of its own: on CPUs the arrays that Orbax restores share
    the memory of a NumPy array, among all devices with the same data. The peak of the
    memory is the state and its largest leaf.

    Args:
        tree: the canonical form, as restored for `abstract(like)`. Its arrays are
            deleted.
        like: a state in the form wanted; its leaves may be abstract.
    """

    def build(leaf: Any, parts: Any) -> jax.Array:
        made = _join(parts, leaf.sharding)
        for array in jax.tree.leaves(parts):
            array.delete()
        # The same sharding in other words, without a copy.
        return made if leaf.sharding is None else jax.device_put(made, leaf.sharding)

    return jax.tree.map(build, like, from_canonical(tree, like, join=list))


@functools.partial(jax.jit, static_argnums=1)
def _join(
    parts: jax.Array | list[jax.Array], sharding: jax.sharding.Sharding | None
) -> jax.Array:
    """Copies an array, or stacks those of all layers."""
    made = jnp.stack(parts) if isinstance(parts, list) else jnp.copy(parts)
    if isinstance(sharding, jax.sharding.NamedSharding):
        made = jax.lax.with_sharding_constraint(made, sharding)
    return made
