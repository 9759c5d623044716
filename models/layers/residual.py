"""The pre-norm residual stream of a stack of layers.

See ARCHITECTURES.md#transformer-residual-stream.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.layers import dropout
from clinometer.models.layers import norm
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers

Other = TypeVar("Other")

# Of x [B, T, d]: devices that share a part of the batch all hold its whole width.
STREAM = ("batch", None, None)


def sublayer(
    config: config_lib.TransformerConfig,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array | None,  # [B, T]
    name: str,
    function: Callable[[jax.Array, jax.Array | None], tuple[jax.Array, Other]],
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, Other]:  # [B, T, d]
    """Computes `x + dropout(update)` with (update, other) = `function(mask * norm(x))`.

    Args:
        config: config of the architecture, for norm and dropout rate.
        x: residual stream [B, T, d].
        segments: int [B, T], 0 at padding, which is zeroed before `function`; None if
            there is no padding.
        name: name of the sublayer, from which its norm and random keys are named.
        function: (normalised x, dropout key) -> (update, other outputs).
        dropout_key: random key of this layer; None for evaluation.

    Returns:
        The new x [B, T, d] and the other outputs of `function`.
    """
    key = keys.fold(dropout_key, name)
    y = mask_padding(norm.make(config.norm, f"{name}_norm")(x), segments)
    update, other = function(constrain(y, STREAM), key)
    x += drop(config, update, keys.fold(key, "output"))
    return constrain(x, STREAM), other


def run_stack(
    config: config_lib.TransformerConfig,
    make_layer: Callable[[str], stack.LayerFunction],
    num_layers: int,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    dropout_key: jax.Array | None = None,
    per_layer_inputs: stack.Tree = None,
    *,
    shared: bool = False,
    final_norm: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, stack.Tree, sublayers.Extras]:
    """Runs a stack from embedded tokens to its final norm, inside a Haiku module.

    Dropout is applied to input and output; padding is zeroed at the end.

    Args:
        config: config of the architecture.
        make_layer: see `stack.run_layers`.
        num_layers: number of layers.
        x: embedded tokens [B, T, d].
        segments: int [B, T], 0 at padding.
        dropout_key: random key of the stack; None for evaluation.
        per_layer_inputs: see `stack.run_layers`.
        shared: see `stack.run_layers`.
        final_norm: see `finish`.

    Returns:
        x [B, T, d], the layers' outputs stacked along a leading axis, and extras of the
        stack itself, which are empty here.
    """
    x = drop(config, x, keys.fold(dropout_key, "input"))
    x, outputs = stack.run_layers(
        make_layer,
        num_layers,
        x,
        per_layer_inputs,
        scan=config.scan_layers,
        remat=config.remat,
        shared=shared,
    )
    x = finish(config, x, segments, dropout_key, final_norm)
    return x, outputs, sublayers.Extras()


def finish(
    config: config_lib.TransformerConfig,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    dropout_key: jax.Array | None,
    final_norm: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:  # [B, T, d]
    """Applies the final norm and dropout to a stack's output and zeroes padding.

    Args:
        config: config of the architecture.
        x: residual stream [B, T, d].
        segments: int [B, T], 0 at padding.
        dropout_key: random key of the stack; None for evaluation.
        final_norm: the norm to apply; None to create the stack's own.
    """
    x = (final_norm or norm.make(config.norm, "final_norm"))(x)
    return mask_padding(drop(config, x, keys.fold(dropout_key, "final")), segments)


def drop(
    config: config_lib.TransformerConfig, x: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Applies dropout to x [B, T, d] at the config's rate."""
    shared_axes = (1,) if config.broadcast_dropout else ()
    return dropout.dropout(x, config.dropout_rate, key, shared_axes)


def mask_padding(x: jax.Array, segments: jax.Array | None) -> jax.Array:
    """Zeroes x [B, T, d] where segments [B, T], if there are any, are 0."""
    if segments is None:
        return x
    return jnp.where((segments != 0)[..., None], x, jnp.zeros((), x.dtype))
