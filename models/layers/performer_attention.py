"""The Performer's multi-head linear attention with ReLU features.

See ARCHITECTURES.md#performer.

Shapes: B batch, T query length, S key length, d model width, H heads, G key-value
heads (H, or 1 when heads are shared), k width of a head.
"""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import PerformerState
from clinometer.kernels.performer_attention import performer_attention
from clinometer.kernels.performer_attention import performer_read
from clinometer.kernels.performer_attention import performer_state
from clinometer.kernels.performer_attention import performer_step
from clinometer.kernels.performer_attention import performer_sums
from clinometer.models.layers import projections


class PerformerAttention(projections.AttentionProjections):
    """Multi-head linear attention with ReLU features.

    The parameters are those of `projections.AttentionProjections`, as in T5. Attention
    weights are never materialised, so neither a relative bias nor dropout on them is
    possible; positions must be encoded in x.

    The published "generalized attention" applies no random projection to queries and
    keys by default, and neither does this module; softmax features (FAVOR+) are another
    kernel. T5's d_kv^-1/2 in the query's initialiser is kept.

    Args:
        num_heads: H.
        d_kv: k.
        num_kv_heads: G; None for H, 1 for a single shared head (operator SH).
        shared_kv: tie the key and value projections (operator SKV).
        causal: whether positions attend only to themselves and earlier ones.
        epsilon: added to the features; see `kernels.performer_attention`.
        implementation: implementation of the kernel; see
            `kernels.performer_attention`.
    """

    def __init__(
        self,
        num_heads: int,
        d_kv: int,
        num_kv_heads: int | None = None,
        shared_kv: bool = False,
        causal: bool = False,
        epsilon: float = 1e-3,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(num_heads, d_kv, num_kv_heads, shared_kv, name=name)
        self.causal = causal
        self.epsilon = epsilon
        self.implementation = implementation

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        key_value: tuple[jax.Array, jax.Array] | None = None,
        key_mask: jax.Array | None = None,
    ) -> jax.Array:  # [B, T, d]
        """Attends from x to keys and values.

        Args:
            x: inputs of the queries [B, T, d].
            key_value: keys and values from the method `key_value`, [B, S, G, k] each;
                None for those of x.
            key_mask: bool [B, S], False at padding; None for all True.

        Returns:
            [B, T, d].
        """
        key, value = self.key_value(x) if key_value is None else key_value
        y = performer_attention(
            self.query(x),
            key,
            value,
            causal=self.causal,
            key_mask=key_mask,
            epsilon=self.epsilon,
            implementation=self.implementation,
        )
        return self.output(y, x.shape[-1])

    def init_state(self, batch: int) -> PerformerState:
        """Returns the initial state, whose size does not depend on the length."""
        return performer_state(batch, self.num_heads, self.d_kv)

    def step(
        self, x: jax.Array, state: PerformerState
    ) -> tuple[jax.Array, PerformerState]:
        """Attends from the next position to itself and earlier positions.

        Args:
            x: [B, 1, d].
            state: the sums over earlier positions.

        Returns:
            [B, 1, d] and the next state.

        Raises:
            ValueError: the module is not causal, or shapes do not match the state.
        """
        if not self.causal:
            raise ValueError("PerformerAttention: step: needs causal=True")
        key, value = (y[:, 0] for y in self._all_heads(self.key_value(x)))
        query = self.query(x)[:, 0]
        y, state = performer_step(state, query, key, value, epsilon=self.epsilon)
        return self.output(y[:, None], x.shape[-1]), state

    @hk.name_like("__call__")
    def sums(self, memory: jax.Array, key_mask: jax.Array) -> PerformerState:
        """Returns the sums over a memory, whose size does not depend on its length.

        Args:
            memory: [B, S, d].
            key_mask: bool [B, S], False at padding.
        """
        key, value = self._all_heads(self.key_value(memory))
        return performer_sums(key, value, key_mask, epsilon=self.epsilon)

    @hk.name_like("__call__")
    def read(self, x: jax.Array, state: PerformerState) -> jax.Array:
        """Attends from one position x [B, 1, d] to a memory with the given sums."""
        y = performer_read(state, self.query(x)[:, 0], epsilon=self.epsilon)
        return self.output(y[:, None], x.shape[-1])

    def _all_heads(
        self, key_value: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """Repeats shared heads: [B, S, G, k] -> [B, S, H, k]."""
        group = self.num_heads // self.num_kv_heads
        return tuple(jnp.repeat(y, group, axis=2) for y in key_value)
