"""Cheap signs of a run's health: RMS of gradients and parameters, loss spikes."""

from collections.abc import Mapping
from collections.abc import Sequence
import re
import statistics
from typing import Any

import jax
import jax.numpy as jnp

Tree = Mapping[str, Mapping[str, jax.Array]]  # {module: {name: array}}

QUANTITIES = ("gradient_rms", "parameter_rms", "update_ratio")

_LAYER = re.compile(r"/(layer_\d+|layers/layer)(?=/|$)")
# Fewer losses than this say nothing about how much a loss scatters.
_MIN_HISTORY = 8


def group_of(module: str) -> str:
    """Returns the group of a module: its name without the layer, all norms together.

    `encoder/layer_3/self_attention` is of `encoder/self_attention`, as is
    `encoder/layers/layer/self_attention`, and `encoder/final_norm` of `encoder/norms`.
    """
    name = _LAYER.sub("", module)
    return re.sub(r"[^/]*norm$", "norms", name)


def groups(params: Tree) -> list[str]:
    """Returns the groups of a parameter tree, sorted."""
    return sorted({group_of(module) for module in params})


def rms(tree: Any) -> jax.Array:
    """Returns the root mean square over all elements of a tree, float32 scalar."""
    leaves = jax.tree.leaves(tree)
    total = sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves)
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))


def measure(params: Tree, gradients: Tree, updates: Tree) -> jax.Array:
    """Returns float32 [groups, quantities] in the order of `groups` and QUANTITIES.

    The update ratio is RMS(update) / RMS(parameter), parameters before the update.
    """
    rows = []
    for group in groups(params):
        members = [module for module in params if group_of(module) == group]
        gradient, parameter, update = (
            rms([tree[module] for module in members])
            for tree in (gradients, params, updates)
        )
        ratio = update / jnp.maximum(parameter, jnp.finfo(jnp.float32).tiny)
        rows.append(jnp.stack([gradient, parameter, ratio]))
    return jnp.stack(rows)


def named(group_names: Sequence[str], values: Any) -> dict[str, float]:
    """Returns `measure`'s array as {"health/QUANTITY/GROUP": value}."""
    return {
        f"health/{quantity}/{group}": float(values[row][column])
        for row, group in enumerate(group_names)
        for column, quantity in enumerate(QUANTITIES)
    }


def is_spike(loss: float, history: Sequence[float], threshold: float) -> bool:
    """Whether `loss` lies above median + threshold x MAD of the earlier losses.

    MAD is the median absolute deviation. A short history (fewer than 8) has no spikes.
    """
    if len(history) < _MIN_HISTORY:
        return False
    median = statistics.median(history)
    deviation = statistics.median(abs(value - median) for value in history)
    return loss > median + threshold * deviation
