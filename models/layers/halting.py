"""Adaptive computation time (Graves 2016) as in the Universal Transformer.

See ARCHITECTURES.md#universal-transformer-halting. Everything is float32.

Shapes: B batch, T length, d model width.
"""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import parameters

TYPES = ("basic", "global", "random", "accumulated")

# State of "global" in decoding: sum and number of probabilities so far, [B] each.
State = tuple[jax.Array, jax.Array]


class HaltingProgress(NamedTuple):
    """The progress of each position, float32 [B, T] each.

    Attributes:
        total: summed probability, h; 1 once the position has halted.
        remainder: remaining probability at the halting step, R; 0 before it.
        updates: number of steps taken, N.
    """

    total: jax.Array
    remainder: jax.Array
    updates: jax.Array


class Halting(hk.Module):
    """Halting unit, which predicts the halting probability `sigmoid(w . s + b)`.

    "global" averages it over the positions of a segment; if causal, over those up to
    the current one, since a decoder must not see later positions (Mesh TensorFlow
    averages over all). "random" draws it from U(0, 1) in training and uses 1/2 in
    evaluation, so that decoding and teacher forcing agree.

    `w` [d] is TruncatedNormal(d^-1/2); `b` [1] is initialised to `bias_init`.

    Args:
        act_type: one of `TYPES`.
        causal: whether "global" excludes later positions.
        bias_init: initial value of b; 0 in Mesh TensorFlow.
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
        """Returns the halting probabilities.

        Args:
            s: input of the block [B, T, d].
            segments: int [B, T], 0 at padding.
            key: random key; None for evaluation.
            state: state from the preceding positions, when decoding step by step; else
                None.

        Returns:
            Probabilities, float32 [B, T], and the next state.
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
        # Not a matrix product: the compiler fuses it, and it does not count as FLOPs.
        total = jnp.sum(jnp.where(pooled, p[:, None, :], 0.0), axis=-1)
        empty = jnp.zeros(s.shape[:1])
        return total / jnp.sum(pooled, axis=-1), (empty, empty)


def start(shape: tuple[int, int]) -> HaltingProgress:
    """Returns the progress before the first step; `shape` is (B, T)."""
    return HaltingProgress(*(jnp.zeros(shape) for _ in HaltingProgress._fields))


def advance(
    progress: HaltingProgress, probability: jax.Array, epsilon: float
) -> tuple[HaltingProgress, jax.Array]:
    """Takes one step.

    Args:
        progress: progress before the step.
        probability: halting probabilities, float32 [B, T].
        epsilon: a position halts once its summed probability exceeds 1 - epsilon.

    Returns:
        The progress after the step, and the weight u of its state, float32 [B, T].
    """
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
    """Returns the mean of values [B, T] over real positions; 0 if there are none."""
    total = jnp.sum(jnp.where(is_real, values, 0.0))
    return total / jnp.maximum(jnp.sum(is_real), 1)
