"""Optimizers that update each parameter of each layer separately.

Adafactor scales by the RMS of a parameter and clips by the RMS of its update. If the
model scans its layers, one leaf [L, ...] holds the parameter of all L layers, which
should not share these values. The optax transformation is therefore applied to each
leaf separately, and under `jax.vmap` to stacked leaves, so that a stacked model trains
like an unstacked one.

The optimizer state is `{module: {name: state of that leaf}}`, so that checkpoints can
split a stack into layers. The learning rate is not part of it but an argument of
`update`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import jax
import optax

from clinometer import models
from clinometer.train import errors

Tree = Mapping[str, Mapping[str, Any]]  # {module: {name: leaf}}

NAMES = ("adafactor", "adamw")


class Optimizer(NamedTuple):
    """A pair of pure functions over `{module: {name: array}}`.

    Attributes:
        init: params -> state.
        update: (gradients, state, params, learning_rate) -> (updates, state). The
            updates are added to the parameters by the caller.
    """

    init: Callable[[Tree], Tree]
    update: Callable[[Tree, Tree, Tree, jax.Array], tuple[Tree, Tree]]


def make(config: Mapping[str, Any]) -> Optimizer:
    """Builds an optimizer.

    Args:
        config: `config.optimizer`.

    Raises:
        ConfigError: `config.optimizer.name` is unknown.
    """
    name = config["name"]
    if name == "adafactor":
        transformation = optax.chain(
            _scale_by_factored_rms(
                config["decay_rate"], config["min_dim_size_to_factor"]
            ),
            optax.clip_by_block_rms(config["clipping_threshold"]),
            optax.scale_by_param_block_rms(),
            optax.scale(-1.0),
        )
    elif name == "adamw":
        transformation = optax.chain(
            optax.scale_by_adam(config["b1"], config["b2"], config["eps"]),
            optax.add_decayed_weights(config["weight_decay"]),
            optax.scale(-1.0),
        )
    else:
        raise errors.ConfigError(
            f"config.optimizer.name: unknown {name!r}; accepted: {', '.join(NAMES)}"
        )
    return per_leaf(transformation)


def per_leaf(transformation: optax.GradientTransformation) -> Optimizer:
    """Returns an optimizer that applies a transformation to each layer separately.

    Args:
        transformation: an optax transformation without a learning rate.
    """

    def init(params: Tree) -> Tree:
        return {
            module: {
                name: _over_layers(module, transformation.init)(leaf)
                for name, leaf in leaves.items()
            }
            for module, leaves in params.items()
        }

    def update(
        gradients: Tree, state: Tree, params: Tree, learning_rate: jax.Array
    ) -> tuple[Tree, Tree]:
        updates, next_state = {}, {}
        for module, leaves in gradients.items():
            updates[module], next_state[module] = {}, {}
            for name, gradient in leaves.items():
                step, next_state[module][name] = _over_layers(
                    module, transformation.update
                )(gradient, state[module][name], params[module][name])
                updates[module][name] = learning_rate * step
        return updates, next_state

    return Optimizer(init, update)


def _scale_by_factored_rms(
    decay_rate: float, min_dim_size_to_factor: int
) -> optax.GradientTransformation:
    """Returns `optax.scale_by_factored_rms` for one leaf, with a faster square root.

    For second moments v that are not factored, optax computes `v ** -0.5`. XLA for CPUs
    calls `pow` for each element, which is several times slower than `rsqrt`.

    Args:
        decay_rate: exponent of the decay of the second moments.
        min_dim_size_to_factor: smallest size that two dimensions must have for the
            second moments to be factored.
    """
    inner = optax.scale_by_factored_rms(
        decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor
    )

    def update(
        gradient: jax.Array, state: optax.FactoredState, parameter: jax.Array
    ) -> tuple[jax.Array, optax.FactoredState]:
        scaled, state = inner.update(gradient, state, parameter)
        if state.v.shape == gradient.shape:  # Not factored.
            scaled = gradient * jax.lax.rsqrt(state.v)
        return scaled, state

    return optax.GradientTransformation(inner.init, update)


def _over_layers(module: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.vmap(function) if models.is_stacked(module) else function
