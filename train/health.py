"""Health metrics of a run: RMS of gradients and parameters, and loss spikes."""

from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import math
import re
import statistics
from typing import Any

import jax
import jax.numpy as jnp

Tree = Mapping[str, Mapping[str, jax.Array]]  # {module: {name: array}}

QUANTITIES = ("gradient_rms", "parameter_rms", "update_ratio")

_LAYER = re.compile(r"/(layer_\d+|layers/layer)(?=/|$)")
# A rise is measured from the median of this many losses.
_LEVEL = 3
# The usual rise is the median of this many.
_LATEST = 5
# Fewest rises from which their spread is estimated.
_MIN_RISES = 8


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
    # A float, as JAX would read an int as int32, which large models exceed.
    return jnp.sqrt(total / float(sum(leaf.size for leaf in leaves)))


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
    """Returns whether a loss rises more than the scatter of the earlier ones explains.

    The rise of a loss is its difference from the median of the three losses before it.
    A spike is a rise above 0 and above the latest rises by `threshold` times the
    scatter. The scatter is the median absolute difference of consecutive rises over
    sqrt(2). The trend of a falling loss, which spans far more than its scatter, drops
    out of both.

    Args:
        loss: the new loss.
        history: the earlier losses, oldest first; with fewer than 11, no loss counts as
            a spike.
        threshold: number of scatters.
    """
    losses = [*history, loss]
    rises = [
        value - statistics.median(losses[i - _LEVEL : i])
        for i, value in enumerate(losses)
        if i >= _LEVEL
    ]
    if len(rises) <= _MIN_RISES:
        return False
    *earlier, rise = rises
    changes = (abs(b - a) for a, b in itertools.pairwise(earlier))
    scatter = statistics.median(changes) / math.sqrt(2)
    usual = statistics.median(earlier[-_LATEST:])
    return rise > max(0.0, usual + threshold * scatter)
