"""The pre-norm residual stream that every stack of layers shares (spec §1.2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models import dropout
from clinometer.models import keys
from clinometer.models import norm
from clinometer.models import stack


def sublayer(
    config: config_lib.TransformerConfig,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    name: str,
    function: Callable[[jax.Array, jax.Array | None], jax.Array],
    dropout_key: jax.Array | None,
) -> jax.Array:  # [B, T, d]
    """Returns `x + dropout(function(mask * rms(x)))`.

    Args:
        config: gives the dropout rate.
        x: the residual stream.
        segments: 0 at padding, which is zeroed before `function`.
        name: of the sublayer; names its norm and its random keys.
        function: (normalised x, dropout key) -> update.
        dropout_key: random key of this layer.
    """
    key = keys.fold(dropout_key, name)
    y = _mask_padding(norm.RMSNorm(name=f"{name}_norm")(x), segments)
    return x + _dropout(config, function(y, key), keys.fold(key, "output"))


def run_stack(
    config: config_lib.TransformerConfig,
    make_layer: Callable[[str], stack.LayerFunction],
    num_layers: int,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    dropout_key: jax.Array | None = None,
    per_layer_inputs: stack.Tree = None,
) -> tuple[jax.Array, stack.Tree]:
    """Runs a stack from embedded tokens to its final norm, inside a Haiku module.

    Input and output are dropped out; padding is zeroed at the end.

    Returns:
        [B, T, d], and the layers' own outputs stacked along a leading axis.
    """
    x = _dropout(config, x, keys.fold(dropout_key, "input"))
    x, outputs = stack.run_layers(
        make_layer,
        num_layers,
        x,
        per_layer_inputs,
        scan=config.scan_layers,
        remat=config.remat,
    )
    x = norm.RMSNorm(name="final_norm")(x)
    x = _dropout(config, x, keys.fold(dropout_key, "final"))
    return _mask_padding(x, segments), outputs


def _dropout(
    config: config_lib.TransformerConfig, x: jax.Array, key: jax.Array | None
) -> jax.Array:
    shared_axes = (1,) if config.broadcast_dropout else ()
    return dropout.dropout(x, config.dropout_rate, key, shared_axes)


def _mask_padding(x: jax.Array, segments: jax.Array) -> jax.Array:
    return jnp.where((segments != 0)[..., None], x, jnp.zeros((), x.dtype))
