"""A layer: sublayers one after the other, each normalised, dropped out and added."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import config as config_lib
from clinometer.models.layers import residual
from clinometer.models.layers import sublayers

# Makes a layer's sublayers, by name and in order; called in each method of the layer.
MakeSublayers = Callable[[], Mapping[str, sublayers.Sublayer]]


class Layer(hk.Module):
    """Runs sublayers on the residual stream, over sequences or position by position.

    Sublayers are given with each call, so that two stacks that share weights can share
    a layer whose sublayers differ. A sublayer's name names its parameters.
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
        """Returns x [B, T, d]; losses are summed, health is "SUBLAYER/NAME"."""
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
        """Returns {sublayer: its state before the first position}."""
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
        """Runs one position; returns x [B, 1, d] and the next state."""
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
