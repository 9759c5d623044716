"""Runs a stack of equal layers, in a Python loop or as a scan.

In their canonical form, parameters have a name per layer (`encoder/layer_3/...`). The
scanned form (`encoder/layers/layer/...`, leaves with a leading layer axis) is converted
from and to it here, so that checkpoints only contain the canonical form.
"""

from collections.abc import Callable
from collections.abc import Mapping
import re
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters
from clinometer.models.layers import remat as remat_lib

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
    remat: str = "none",
    shared: bool = False,
) -> tuple[Tree, Tree]:
    """Applies layers 0, ..., num_layers - 1 to `x`, inside a Haiku module.

    Args:
        make_layer: creates the layer module of a given name; it is called as
            `layer(x, index, inputs)` and returns the next x and its outputs.
        num_layers: number of layers, at least 1.
        x: the value passed from layer to layer, usually an array.
        per_layer_inputs: a tree of leaves [num_layers, ...], sliced for each layer.
        scan: trace one layer under `hk.layer_stack` on stacked parameters, which
            compiles faster for deep stacks, instead of a Python loop.
        remat: what the backward pass recomputes; one of `remat.POLICIES`.
        shared: apply a single layer, named "layer", num_layers times; its parameters
            have no layer axis.

    Returns:
        The final x, and the layers' outputs stacked along a leading axis.
    """

    def layer_function(name: str) -> LayerFunction:
        layer = make_layer(name)
        return remat_lib.wrap(layer, remat)

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
    """Returns whether the parameters of this module have a leading layer axis."""
    return _STACKED.match(module_name) is not None


def stack_params(
    params: Params, join: Callable[[list[Any]], Any] = jnp.stack
) -> dict[str, dict[str, Any]]:
    """Converts canonical parameters to the stacked form of scanned layers; traceable.

    Args:
        params: canonical parameters, or any `{module: {name: leaf}}` tree with the same
            module names.
        join: makes the stacked leaf of the leaves of all layers.

    Raises:
        ValueError: a stack lacks a layer.
    """
    return _join_layers(params, join)


def stack_axes(axes: Axes) -> dict[str, dict[str, parameters.Axes]]:
    """Converts the axis names of canonical parameters to those of `stack_params`.

    Args:
        axes: axis names, as returned by `EncoderDecoder.param_axes`.

    Raises:
        ValueError: the layers of a stack have different axes.
    """

    def join(layers: list[parameters.Axes]) -> parameters.Axes:
        if any(names != layers[0] for names in layers):
            raise ValueError(f"stack_axes: layers differ: {sorted(set(layers))}")
        return (parameters.LAYERS, *layers[0])

    return _join_layers(axes, join)


def _join_layers(
    params: Params, join: Callable[[list[Any]], Any]
) -> dict[str, dict[str, Any]]:
    """Renames modules to those of the stacked form and joins the layers' leaves."""
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
    """Converts stacked parameters to the canonical form; inverts `stack_params`."""
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
