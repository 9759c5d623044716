"""The modes of the Universal Transformer's recurrence: basic, highway and ACT.

A mode computes the next state from the current one and the block's output. See
ARCHITECTURES.md#universal-transformer-recurrence; `recurrence.run_stack` applies them.

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
    """The interface of a mode, which computes the state of the next recurrence."""

    def start(self, x: jax.Array) -> Tree:
        """Returns the carry of the first recurrence from x [B, T, d]."""

    def state(self, carry: Tree) -> jax.Array:
        """Returns the state [B, T, d] of a carry."""

    def update(
        self,
        carry: Tree,
        entering: jax.Array,
        transformed: jax.Array,
        index: jax.Array,
        inputs: Tree,
    ) -> tuple[Tree, Tree]:
        """Computes the carry of the next recurrence.

        Args:
            carry: carry of this recurrence.
            entering: input of the block [B, T, d], state plus step embedding.
            transformed: output of the block [B, T, d].
            index: index of the recurrence.
            inputs: state of the mode in decoding, or None.

        Returns:
            The next carry, and outputs of this recurrence.
        """

    def finish(self, carry: Tree, outputs: Tree) -> tuple[jax.Array, sublayers.Extras]:
        """Returns x [B, T, d] and extras from the last carry and outputs [R, ...]."""


class Basic:
    """The mode "basic", in which the next state is the block's output."""

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
    """The mode "highway", `new = state * c + transformed * t` with gates c and t.

    The gates are dense layers with biases. Their input is a concatenation of the state
    ("s"), the block's output ("t") and the first recurrence's input ("i"), as selected
    by `config.highway_inputs`, each with its own norm. Kernels [n d, d] are
    TruncatedNormal((n d)^-1/2), biases 0.

    Args:
        config: a `universal.Config`.
        segments: int [B, T], 0 at padding.
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
    """The mode "act", whose result is a weighted average of the states.

    Attributes:
        config: a `universal.Config`.
        halt: the halting unit.
        segments: int [B, T], 0 at padding.
        dropout_key: random key of the stack; None for evaluation.
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
        """See `RecurrenceMode`; inputs and outputs are the halting unit's state."""
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
    """Returns the mode that a config selects; call inside a Haiku module.

    Args:
        config: a `universal.Config`.
        segments: int [B, T], 0 at padding.
        dropout_key: random key of the stack; None for evaluation.
        causal: whether "global" halting excludes later positions.
    """
    if config.recurrence == "highway":
        return Highway(config, segments, name="highway")
    if config.recurrence == "act":
        halt = halting.Halting(
            config.act_type, causal, config.halting_bias_init, name="halting"
        )
        return Act(config, halt, segments, dropout_key)
    return Basic()
