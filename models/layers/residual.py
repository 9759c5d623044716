"""The pre-norm residual stream that every stack of layers shares.

See ARCHITECTURES.md#transformer-residual-stream.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.layers import dropout
from clinometer.models.layers import norm
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers

Other = TypeVar("Other")


def sublayer(
    config: config_lib.TransformerConfig,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    name: str,
    function: Callable[[jax.Array, jax.Array | None], tuple[jax.Array, Other]],
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, Other]:  # [B, T, d]
    """Returns `x + dropout(update)`, of (update, other) = `function(mask * norm(x))`.

    Args:
        config: gives the norm and the dropout rate.
        x: the residual stream.
        segments: 0 at padding, which is zeroed before `function`.
        name: of the sublayer; names its norm and its random keys.
        function: (normalised x, dropout key) -> (update, whatever it says beside).
        dropout_key: random key of this layer.

    Returns:
        x and what `function` said beside.
    """
    key = keys.fold(dropout_key, name)
    y = mask_padding(norm.make(config.norm, f"{name}_norm")(x), segments)
    update, other = function(y, key)
    return x + drop(config, update, keys.fold(key, "output")), other


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

    Input and output are dropped out; padding is zeroed at the end. `make_layer`,
    `per_layer_inputs` and `shared` are those of `stack.run_layers`; `final_norm` is
    that of `finish`.

    Returns:
        [B, T, d], the layers' own outputs stacked along a leading axis, and extras of
        the stack itself, which are none here.
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
    """Returns the output of a stack: its final norm, dropped out, padding zeroed.

    `final_norm` is None for one of the stack's own.
    """
    x = (final_norm or norm.make(config.norm, "final_norm"))(x)
    return mask_padding(drop(config, x, keys.fold(dropout_key, "final")), segments)


def drop(
    config: config_lib.TransformerConfig, x: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Drops out [B, T, d] as the config has it."""
    shared_axes = (1,) if config.broadcast_dropout else ()
    return dropout.dropout(x, config.dropout_rate, key, shared_axes)


def mask_padding(x: jax.Array, segments: jax.Array) -> jax.Array:
    """Zeroes [B, T, d] where segments [B, T] are 0."""
    return jnp.where((segments != 0)[..., None], x, jnp.zeros((), x.dtype))
