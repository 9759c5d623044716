"""How a recurrence's result becomes the next state: basic, highway, adaptive (ACT).

See ARCHITECTURES.md#universal-transformer-recurrence. `recurrence.run_stack` runs them.

Shapes: B batch, T length, d model width, R recurrences.
"""

import dataclasses
from typing import Any
from typing import NamedTuple
from typing import Protocol

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import keys
from clinometer.models.layers import halting
from clinometer.models.layers import norm
from clinometer.models.layers import parameters
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers

Tree = stack.Tree


class RecurrenceMode(Protocol):
    """How what a recurrence transformed becomes the state of the next one."""

    def start(self, x: jax.Array) -> Tree:
        """Returns what the first recurrence gets, of x [B, T, d]."""

    def state(self, carry: Tree) -> jax.Array:
        """Returns the state [B, T, d]."""

    def update(
        self,
        carry: Tree,
        entering: jax.Array,
        transformed: jax.Array,
        index: jax.Array,
        inputs: Tree,
    ) -> tuple[Tree, Tree]:
        """Returns what the next recurrence gets, and outputs of this one.

        Args:
            carry: what this recurrence got.
            entering: [B, T, d], its state and step embedding.
            transformed: [B, T, d], that behind the passes through the block.
            index: of the recurrence.
            inputs: state of the mode in decoding, or None.
        """

    def finish(self, carry: Tree, outputs: Tree) -> tuple[jax.Array, sublayers.Extras]:
        """Returns x [B, T, d] and extras, of the last carry and outputs [R, ...]."""


class Basic:
    """The state is what the block makes of it."""

    def start(self, x: jax.Array) -> Tree:
        """See `RecurrenceMode`."""
        return x

    def state(self, carry: Tree) -> jax.Array:
        """See `RecurrenceMode`."""
        return carry

    def update(
        self,
        carry: Tree,
        entering: jax.Array,
        transformed: jax.Array,
        index: jax.Array,
        inputs: Tree,
    ) -> tuple[Tree, Tree]:
        """See `RecurrenceMode`."""
        del carry, entering, index, inputs
        return transformed, None

    def finish(self, carry: Tree, outputs: Tree) -> tuple[jax.Array, sublayers.Extras]:
        """See `RecurrenceMode`."""
        del outputs
        return carry, sublayers.Extras()


class Highway(hk.Module):
    """`new = state * c + transformed * t`, gates by a dense layer with bias.

    The gates see a concatenation of state ("s"), what the block made of it ("t") and
    the recurrence's first input ("i"), each through a norm of its own. Kernels [n d, d]
    are TruncatedNormal((n d)^-1/2), biases 0.

    Args:
        config: `universal.Config`.
        segments: [B, T], 0 at padding.
    """

    def __init__(self, config: Any, segments: jax.Array, name: str | None = None):
        super().__init__(name=name)
        self.config = config
        self.is_real = segments != 0

    def start(self, x: jax.Array) -> Tree:
        """See `RecurrenceMode`."""
        return x, x

    def state(self, carry: Tree) -> jax.Array:
        """See `RecurrenceMode`."""
        return carry[0]

    @hk.name_like("__call__")
    def update(
        self,
        carry: Tree,
        entering: jax.Array,
        transformed: jax.Array,
        index: jax.Array,
        inputs: Tree,
    ) -> tuple[Tree, Tree]:
        """See `RecurrenceMode`; the output is the mean of t over real positions."""
        del entering, index, inputs
        state, first = carry
        seen = {"s": state, "t": transformed, "i": first}
        normed = [
            norm.make(self.config.norm, f"{letter}_norm")(seen[letter])
            for letter in self.config.highway_inputs
        ]
        y = jnp.concatenate(normed, axis=-1)
        transform = self._gate("transform", y)
        if self.config.couple_gates:
            carry_gate = 1 - transform
        else:
            carry_gate = self._gate("carry", y)
        mean = halting.mean(jnp.mean(transform.astype(jnp.float32), -1), self.is_real)
        return (state * carry_gate + transformed * transform, first), mean

    def finish(self, carry: Tree, outputs: Tree) -> tuple[jax.Array, sublayers.Extras]:
        """See `RecurrenceMode`."""
        return carry[0], sublayers.Extras(health={"highway/transform_gate": outputs})

    def _gate(self, name: str, y: jax.Array) -> jax.Array:
        axes = ("joined_embed", "embed")
        logits = parameters.dense(name, y, self.config.d_model, axes, with_bias=True)
        return jax.nn.sigmoid(logits)


class _ActCarry(NamedTuple):
    state: jax.Array  # [B, T, d]
    progress: halting.HaltingProgress
    output: jax.Array  # [B, T, d]


@dataclasses.dataclass(frozen=True)
class Act:
    """Adaptive computation time; the result is an average of the states.

    Attributes:
        config: `universal.Config`.
        halt: the halting unit.
        segments: [B, T], 0 at padding.
        dropout_key: random key of the stack.
    """

    config: Any
    halt: halting.Halting
    segments: jax.Array
    dropout_key: jax.Array | None

    def start(self, x: jax.Array) -> Tree:
        """See `RecurrenceMode`."""
        return _ActCarry(x, halting.start(x.shape[:2]), jnp.zeros_like(x))

    def state(self, carry: Tree) -> jax.Array:
        """See `RecurrenceMode`."""
        return carry.state

    def update(
        self,
        carry: Tree,
        entering: jax.Array,
        transformed: jax.Array,
        index: jax.Array,
        inputs: Tree,
    ) -> tuple[Tree, Tree]:
        """See `RecurrenceMode`; inputs and output are the halting unit's state."""
        key = keys.fold(self.dropout_key, "halting", index)
        probability, unit_state = self.halt(entering, self.segments, key, inputs)
        progress, weight = halting.advance(
            carry.progress, probability, self.config.act_epsilon
        )
        u = weight[..., None]
        kept = carry.output.astype(jnp.float32)
        if self.config.act_type != "accumulated":
            kept *= 1 - u
        output = (u * transformed.astype(jnp.float32) + kept).astype(transformed.dtype)
        return _ActCarry(transformed, progress, output), unit_state

    def finish(self, carry: Tree, outputs: Tree) -> tuple[jax.Array, sublayers.Extras]:
        """See `RecurrenceMode`."""
        del outputs
        is_real = self.segments != 0
        steps = halting.mean(carry.progress.updates, is_real)
        cost = steps + halting.mean(carry.progress.remainder, is_real)
        running = (carry.progress.total < 1).astype(jnp.float32)
        health = {
            "act/steps": steps,
            "act/ponder_cost": cost,
            "act/not_halted": halting.mean(running, is_real),
        }
        extras = sublayers.Extras(self.config.ponder_weight * cost, health)
        return carry.output, extras


def make_mode(
    config: Any, segments: jax.Array, dropout_key: jax.Array | None, causal: bool
) -> RecurrenceMode:
    """Returns the mode of `universal.Config`, inside a Haiku module; see `Act`."""
    if config.recurrence == "highway":
        return Highway(config, segments, name="highway")
    if config.recurrence == "act":
        halt = halting.Halting(
            config.act_type, causal, config.halting_bias_init, name="halting"
        )
        return Act(config, halt, segments, dropout_key)
    return Basic()
