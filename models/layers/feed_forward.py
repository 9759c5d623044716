"""The position-wise feed-forward sublayer, plain or gated."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import keys
from clinometer.models.layers import dropout

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

    No biases; kernels are TruncatedNormal(fan_in^-1/2); see
    ARCHITECTURES.md#transformer-feed-forward.

    Args:
        d_ff: width of the hidden layer.
        activation: one of `ACTIVATIONS`, e.g. "relu" or "gated-gelu".
        dropout_rate: rate on the hidden layer.
        broadcast_dropout: share the mask along the length axis.
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
        """Transforms every position alike."""
        d_model = x.shape[-1]
        act = _FUNCTIONS[self.activation.removeprefix("gated-")]
        if self.activation.startswith("gated-"):
            hidden = act(x @ _kernel("wi_0", d_model, self.d_ff, x.dtype))
            hidden *= x @ _kernel("wi_1", d_model, self.d_ff, x.dtype)
        else:
            hidden = act(x @ _kernel("wi", d_model, self.d_ff, x.dtype))
        key = keys.fold(dropout_key, "hidden")
        hidden = dropout.dropout(hidden, self.dropout_rate, key, self.shared_axes)
        return hidden @ _kernel("wo", self.d_ff, d_model, x.dtype)


def _kernel(name: str, fan_in: int, fan_out: int, dtype: jnp.dtype) -> jax.Array:
    """A float32 parameter [fan_in, fan_out], cast to the compute dtype."""
    init = hk.initializers.TruncatedNormal(fan_in**-0.5)
    return hk.get_parameter(name, [fan_in, fan_out], jnp.float32, init).astype(dtype)
