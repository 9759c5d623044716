"""The projections of multi-head attention with T5's conventions.

Shapes: B batch, T query length, S key length, d model width, H heads, G key-value
heads (H, or 1 when heads are shared), k width of a head.
"""

import haiku as hk
import jax

from clinometer.kernels.constraint import constrain
from clinometer.models.layers import parameters


class AttentionProjections(hk.Module):
    """Query, key, value and output projections, without biases.

    The parameters `query` [d, H k], `key` and `value` [d, G k] (one `key_value` if
    tied) and `output` [H k, d] are two-dimensional, so that Adafactor factors them.
    They are drawn from normal distributions with standard deviations (d k)^-1/2 for the
    query, d^-1/2 for key and value and (H k)^-1/2 for the output. There is no factor
    1/sqrt(k), which T5 folds into the query's initialiser
    (ARCHITECTURES.md#transformer-attention).

    Args:
        num_heads: H.
        d_kv: k.
        num_kv_heads: G; None for H, 1 for a single shared head (operator SH).
        shared_kv: tie the key and value projections (operator SKV).
    """

    def __init__(
        self,
        num_heads: int,
        d_kv: int,
        num_kv_heads: int | None = None,
        shared_kv: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.num_heads = num_heads
        self.d_kv = d_kv
        self.num_kv_heads = num_kv_heads or num_heads
        self.shared_kv = shared_kv

    @hk.name_like("__call__")
    def query(self, x: jax.Array) -> jax.Array:
        """Projects [B, T, d] to queries, [B, T, H, k]."""
        stddev = (x.shape[-1] * self.d_kv) ** -0.5
        return self._project("query", x, self.num_heads, stddev, "joined_heads")

    @hk.name_like("__call__")
    def key_value(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Projects [B, S, d] to keys and values, [B, S, G, k] each."""
        stddev = memory.shape[-1] ** -0.5
        names = ("key_value",) if self.shared_kv else ("key", "value")
        made = [
            self._project(name, memory, self.num_kv_heads, stddev, "joined_kv_heads")
            for name in names
        ]
        return made[0], made[-1]

    @hk.name_like("__call__")
    def output(self, y: jax.Array, d_model: int) -> jax.Array:
        """Projects the outputs of the heads, [B, T, H, k], to [B, T, d]."""
        inner = self.num_heads * self.d_kv
        return parameters.dense(
            "output",
            y.reshape(*y.shape[:2], inner),
            d_model,
            ("joined_heads", "embed"),
            parameters.normal(inner**-0.5),
        )

    def _project(
        self, name: str, x: jax.Array, heads: int, stddev: float, axis: str
    ) -> jax.Array:
        y = parameters.dense(
            name, x, heads * self.d_kv, ("embed", axis), parameters.normal(stddev)
        )
        y = y.reshape(*x.shape[:2], heads, self.d_kv)
        return constrain(y, ("batch", None, "heads", None))
