"""Runs equal layers one after the other, as a Python loop or as one scanned stack.

Parameters have one canonical form, a name per layer (`encoder/layer_3/...`). The
scanned form (`encoder/layers/layer/...`, leaves with a leading layer axis) is a view
of it, made and undone here, so checkpoints and conversions know one tree only.
"""

from collections.abc import Callable
from collections.abc import Mapping
import re
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters

Params = Mapping[str, Mapping[str, Any]]
Axes = Mapping[str, Mapping[str, parameters.Axes]]
Tree = Any  # a JAX tree of arrays
# (x, layer index, inputs of this layer) -> (next x, outputs of this layer)
LayerFunction = Callable[[Tree, jax.Array, Tree], tuple[Tree, Tree]]

_LAYER = re.compile(r"^(.*)/layer_(\d+)(/.*)?$")
_STACKED = re.compile(r"^(.*)/layers/layer(/.*)?$")


def run_layers(
    make_layer: Callable[[str], LayerFunction],
    num_layers: int,
    x: Tree,
    per_layer_inputs: Tree = None,
    *,
    scan: bool = False,
    remat: bool = False,
    shared: bool = False,
) -> tuple[Tree, Tree]:
    """Applies layers 0 ... num_layers-1 to `x`, inside a Haiku module.

    Args:
        make_layer: makes the layer module of a given name; it is called as
            `layer(x, index, inputs)` and returns the next x and outputs of its own.
        num_layers: number of layers, at least 1.
        x: what the layers hand on; for most an array.
        per_layer_inputs: a tree of leaves [num_layers, ...], a slice for each layer.
        scan: one traced layer under `hk.layer_stack` (fast to compile when deep),
            on stacked parameters, in place of a Python loop.
        remat: recompute each layer's activations in the backward pass.
        shared: one layer, named "layer", in the place of all: its parameters are used
            again and again, and have no layer axis.

    Returns:
        The last x and the layers' outputs, stacked along a leading axis.
    """

    def layer_function(name: str) -> LayerFunction:
        layer = make_layer(name)
        return hk.remat(layer) if remat else layer

    if shared:
        layer = layer_function("layer")
        if scan:
            scanned = (jnp.arange(num_layers), per_layer_inputs)
            return hk.scan(lambda x, inputs: layer(x, *inputs), x, scanned)
    elif scan:

        def body(x: Tree, index: jax.Array, inputs: Tree) -> Any:
            return layer_function("layer")(x, index, inputs)

        stack = hk.layer_stack(num_layers, with_per_layer_inputs=True, name="layers")
        return stack(body)(x, jnp.arange(num_layers), per_layer_inputs)
    outputs = []
    for index in range(num_layers):
        inputs = jax.tree.map(lambda leaf, i=index: leaf[i], per_layer_inputs)
        if not shared:
            layer = layer_function(f"layer_{index}")
        x, output = layer(x, jnp.asarray(index), inputs)
        outputs.append(output)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def is_stacked(module_name: str) -> bool:
    """Whether the parameters of this module have a leading layer axis."""
    return _STACKED.match(module_name) is not None


def stack_params(params: Params) -> dict[str, dict[str, Any]]:
    """Returns the scanned view of per-layer parameters; traceable.

    Works on any `{module: {name: leaf}}` tree with those module names.
    """
    return _join_layers(params, jnp.stack)


def stack_axes(axes: Axes) -> dict[str, dict[str, parameters.Axes]]:
    """Returns the axes' names of `stack_params`, of those of the canonical form."""

    def join(layers: list[parameters.Axes]) -> parameters.Axes:
        if any(names != layers[0] for names in layers):
            raise ValueError(f"stack_axes: layers differ: {sorted(set(layers))}")
        return (parameters.LAYERS, *layers[0])

    return _join_layers(axes, join)


def _join_layers(
    params: Params, join: Callable[[list[Any]], Any]
) -> dict[str, dict[str, Any]]:
    """Renames as the scanned view has it, and joins the leaves of equal names."""
    result: dict[str, dict[str, Any]] = {}
    layers: dict[str, dict[int, Mapping[str, Any]]] = {}
    for module, leaves in params.items():
        match = _LAYER.match(module)
        if match is None:
            result[module] = dict(leaves)
        else:
            stack_name = f"{match[1]}/layers/layer{match[3] or ''}"
            layers.setdefault(stack_name, {})[int(match[2])] = leaves
    for stack_name, by_index in layers.items():
        if sorted(by_index) != list(range(len(by_index))):
            raise ValueError(
                f"stack_params: layers of {stack_name} are {sorted(by_index)}, "
                "expected 0, 1, 2, ... without a gap"
            )
        ordered = [by_index[index] for index in range(len(by_index))]
        result[stack_name] = {
            name: join([leaves[name] for leaves in ordered]) for name in ordered[0]
        }
    return result


def unstack_params(params: Params) -> dict[str, dict[str, Any]]:
    """Returns the per-layer form of scanned parameters: undoes `stack_params`."""
    result: dict[str, dict[str, Any]] = {}
    for module, leaves in params.items():
        match = _STACKED.match(module)
        if match is None:
            result[module] = dict(leaves)
            continue
        for name, leaf in leaves.items():
            for index in range(leaf.shape[0]):
                layer_name = f"{match[1]}/layer_{index}{match[2] or ''}"
                result.setdefault(layer_name, {})[name] = leaf[index]
    return result
