"""A pre-norm layer: a sequence of sublayers with norms, dropout and residuals."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models.layers import residual
from clinometer.models.layers import sublayers

# Creates a layer's sublayers by name, in order; called in each method of the layer.
MakeSublayers = Callable[[], Mapping[str, sublayers.Sublayer]]


class Layer(hk.Module):
    """Applies sublayers to the residual stream, on sequences or step by step.

    Sublayers are passed to each method, so that two stacks that share weights can share
    a layer even if their sublayers differ. A sublayer's key names its parameters.

    Args:
        config: config of the architecture, for norm, dropout and dtype.
    """

    def __init__(self, config: config_lib.TransformerConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        make_sublayers: MakeSublayers,
        x: jax.Array,  # [B, T, d]
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """Applies the layer to whole sequences.

        Args:
            make_sublayers: creates the sublayers.
            x: residual stream [B, T, d].
            context: other inputs of the sublayers.
            dropout_key: random key of this layer; None for evaluation.

        Returns:
            x [B, T, d], and the extras of all sublayers: the sum of their losses, and
            their health as {"SUBLAYER/NAME": array}.
        """
        loss, health = jnp.zeros((), jnp.float32), {}
        for name, sublayer in make_sublayers().items():
            x, extras = residual.sublayer(
                self.config,
                x,
                context.segments,
                name,
                lambda y, key, apply=sublayer: apply(y, context, key),
                dropout_key,
            )
            loss += extras.loss
            health.update({f"{name}/{key}": v for key, v in extras.health.items()})
        return x, sublayers.Extras(loss, health)

    @hk.name_like("__call__")
    def init_state(
        self,
        make_sublayers: MakeSublayers,
        context: sublayers.SublayerContext,
        max_length: int,
    ) -> dict[str, sublayers.State]:
        """Returns the initial state of each sublayer, {sublayer: state}."""
        dtype = self.config.compute_dtype
        return {
            name: sublayer.init_state(context, max_length, dtype)
            for name, sublayer in make_sublayers().items()
        }

    @hk.name_like("__call__")
    def step(
        self,
        make_sublayers: MakeSublayers,
        x: jax.Array,  # [B, 1, d]
        state: Mapping[str, sublayers.State],
        context: sublayers.SublayerContext,
    ) -> tuple[jax.Array, dict[str, sublayers.State]]:
        """Applies the layer to one position; returns x [B, 1, d] and the next state."""
        next_state: dict[str, Any] = {}
        for name, sublayer in make_sublayers().items():
            x, next_state[name] = residual.sublayer(
                self.config,
                x,
                context.segments,
                name,
                lambda y, _, n=name, s=sublayer: s.step(y, state[n], context),
                None,
            )
        return x, next_state
