"""Health metrics of a run: RMS of gradients and parameters, and loss spikes."""

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
# Fewest losses from which their spread is estimated.
_MIN_HISTORY = 8


def group_of(module: str) -> str:
    """Returns the health group of a module.

    A group is the module's name without the layer; all norms of a stack share one
    group. `encoder/layer_3/self_attention` and `encoder/layers/layer/self_attention`
    are in `encoder/self_attention`, and `encoder/final_norm` is in `encoder/norms`.

    Args:
        module: name of the module in the parameter tree.
    """
    name = _LAYER.sub("", module)
    return re.sub(r"[^/]*norm$", "norms", name)


def groups(params: Tree) -> list[str]:
    """Returns the sorted names of the groups of a parameter tree."""
    return sorted({group_of(module) for module in params})


def rms(tree: Any) -> jax.Array:
    """Returns the root mean square over all elements of a tree, float32 scalar."""
    leaves = jax.tree.leaves(tree)
    total = sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves)
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))


def measure(params: Tree, gradients: Tree, updates: Tree) -> jax.Array:
    """Measures the health quantities of each group; traceable.

    The update ratio is RMS(update) / RMS(parameter).

    Args:
        params: the parameters before the update.
        gradients: their gradients.
        updates: the updates that are added to them.

    Returns:
        float32 [groups, quantities], in the order of `groups` and `QUANTITIES`.
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
    """Names the values that `measure` returned.

    Args:
        group_names: from `groups`.
        values: float [groups, quantities], from `measure`.

    Returns:
        {"health/QUANTITY/GROUP": value}.
    """
    return {
        f"health/{quantity}/{group}": float(values[row][column])
        for row, group in enumerate(group_names)
        for column, quantity in enumerate(QUANTITIES)
    }


def is_spike(loss: float, history: Sequence[float], threshold: float) -> bool:
    """Returns whether a loss exceeds median + threshold x MAD of the earlier losses.

    MAD is the median absolute deviation.

    Args:
        loss: the new loss.
        history: the earlier losses; with fewer than 8, no loss counts as a spike.
        threshold: number of MADs.
    """
    if len(history) < _MIN_HISTORY:
        return False
    median = statistics.median(history)
    deviation = statistics.median(abs(value - median) for value in history)
    return loss > median + threshold * deviation
