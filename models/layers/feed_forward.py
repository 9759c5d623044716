"""The position-wise feed-forward network, plain or gated."""

from collections.abc import Callable

import haiku as hk
import jax

from clinometer.kernels.constraint import constrain
from clinometer.models import keys
from clinometer.models.layers import dropout
from clinometer.models.layers import parameters

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "swish": jax.nn.swish,
    "linear": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
}
ACTIVATIONS = tuple(_FUNCTIONS) + tuple(f"gated-{name}" for name in _FUNCTIONS)


class FeedForward(hk.Module):
    """`dropout(act(x wi)) wo`, or `dropout(act(x wi_0) * (x wi_1)) wo` when gated.

    There are no biases; kernels are TruncatedNormal(fan_in^-1/2). See
    ARCHITECTURES.md#transformer-feed-forward.

    Args:
        d_ff: width of the hidden layer.
        activation: one of `ACTIVATIONS`, e.g. "relu" or "gated-gelu".
        dropout_rate: dropout rate on the hidden layer.
        broadcast_dropout: share the dropout mask along the length axis.
    """

    def __init__(
        self,
        d_ff: int,
        activation: str = "relu",
        dropout_rate: float = 0.0,
        broadcast_dropout: bool = True,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.d_ff = d_ff
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.shared_axes = (1,) if broadcast_dropout else ()

    def __call__(  # [B, T, d] -> [B, T, d]
        self, x: jax.Array, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Transforms each position independently."""
        act = _FUNCTIONS[self.activation.removeprefix("gated-")]
        if self.activation.startswith("gated-"):
            hidden = act(self._expand("wi_0", x)) * self._expand("wi_1", x)
        else:
            hidden = act(self._expand("wi", x))
        hidden = constrain(hidden, ("batch", None, "heads"))
        key = keys.fold(dropout_key, "hidden")
        hidden = dropout.dropout(hidden, self.dropout_rate, key, self.shared_axes)
        return parameters.dense("wo", hidden, x.shape[-1], ("mlp", "embed"))

    def _expand(self, name: str, x: jax.Array) -> jax.Array:
        return parameters.dense(name, x, self.d_ff, ("embed", "mlp"))
