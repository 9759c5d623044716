"""Adaptive computation time: who halts when, and by what weight.

See ARCHITECTURES.md#universal-transformer-halting.

Graves 2016, as the Universal Transformer has it. Everything is float32.

Shapes: B batch, T length, d model width.
"""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters

TYPES = ("basic", "global", "random", "accumulated")

# Of "global" in decoding: sum and number of the probabilities so far, [B] each.
State = tuple[jax.Array, jax.Array]


class HaltingProgress(NamedTuple):
    """How far each position has come; float32 [B, T] each.

    Attributes:
        total: h, probability spent; 1 once halted.
        remainder: R, what was left of it at halting; 0 before.
        updates: N, steps taken.
    """

    total: jax.Array
    remainder: jax.Array
    updates: jax.Array


class Halting(hk.Module):
    """The probability of halting, `sigmoid(w . s + b)`.

    "global" takes its mean over the positions of a segment; over those up to and
    including a position where causal, without which a decoder would see what comes
    later (Mesh TensorFlow takes all). "random" is U(0, 1) in training; evaluation takes
    1/2, so that decoding and teacher forcing agree.

    `w` [d] is TruncatedNormal(d^-1/2), `b` [1] is `bias_init`.

    Args:
        act_type: one of `TYPES`.
        causal: see above.
        bias_init: of b; 0 in Mesh TensorFlow.
    """

    def __init__(
        self, act_type: str, causal: bool, bias_init: float, name: str | None = None
    ):
        super().__init__(name=name)
        self.act_type = act_type
        self.causal = causal
        self.bias_init = bias_init

    def __call__(
        self,
        s: jax.Array,  # [B, T, d]
        segments: jax.Array,  # [B, T]
        key: jax.Array | None,
        state: State | None,
    ) -> tuple[jax.Array, State | None]:
        """Returns probabilities, float32 [B, T], and the state behind this position.

        Args:
            s: what enters the block.
            segments: 0 at padding.
            key: random key; None is evaluation.
            state: of the positions before, where one position is decoded.
        """
        batch_and_length = s.shape[:2]
        if self.act_type == "random":
            if key is None:
                return jnp.full(batch_and_length, 0.5), None
            return jax.random.uniform(key, batch_and_length), None
        init = parameters.truncated_normal(s.shape[-1])
        w = parameters.make("w", s.shape[-1:], ("embed",), init)
        bias_init = parameters.constant(self.bias_init)
        b = parameters.make("b", (1,), ("one",), bias_init)
        logits = jnp.einsum("btd,d->bt", s.astype(jnp.float32), w)
        p = jax.nn.sigmoid(logits + b[None])
        if self.act_type != "global":
            return p, None
        if state is not None:
            total, count = state[0] + p[:, 0], state[1] + 1
            return (total / count)[:, None], (total, count)
        pooled = segments[:, :, None] == segments[:, None, :]
        if self.causal:
            order = jnp.arange(s.shape[1])
            pooled &= (order[:, None] >= order[None, :])[None]
        # No matrix product: the compiler fuses this, and it is no FLOPs of the model.
        total = jnp.sum(jnp.where(pooled, p[:, None, :], 0.0), axis=-1)
        empty = jnp.zeros(s.shape[:1])
        return total / jnp.sum(pooled, axis=-1), (empty, empty)


def start(shape: tuple[int, int]) -> HaltingProgress:
    """Returns the progress before the first step, of positions [B, T]."""
    return HaltingProgress(*(jnp.zeros(shape) for _ in HaltingProgress._fields))


def advance(
    progress: HaltingProgress, probability: jax.Array, epsilon: float
) -> tuple[HaltingProgress, jax.Array]:
    """Takes one step; returns the progress and the weight u [B, T] of its state."""
    total, remainder, updates = progress
    running = total < 1
    exceeds = total + jnp.where(running, probability, 0.0) > 1 - epsilon
    halts = (running & exceeds).astype(jnp.float32)
    goes_on = (running & ~exceeds).astype(jnp.float32)
    total += probability * goes_on
    remainder += halts * (1 - total)
    total += halts * remainder
    updates += halts + goes_on
    weight = probability * goes_on + halts * remainder
    return HaltingProgress(total, remainder, updates), weight


def mean(values: jax.Array, is_real: jax.Array) -> jax.Array:
    """Returns the mean of [B, T] over real positions; 0 where there are none."""
    total = jnp.sum(jnp.where(is_real, values, 0.0))
    return total / jnp.maximum(jnp.sum(is_real), 1)
