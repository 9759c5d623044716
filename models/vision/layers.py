"""The sublayers of a Vision Transformer: attention and feed-forward, with biases.

They follow Dosovitskiy et al. 2021; see ARCHITECTURES.md#vision-transformers.

Shapes: B batch, N positions, d model width, H heads, k width of a head.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models import keys
from clinometer.models.layers import attention
from clinometer.models.layers import dropout
from clinometer.models.layers import parameters
from clinometer.models.layers import sublayers
from clinometer.models.vision import config as config_lib


class ImageAttention(attention.RelativeAttention):
    """Multi-head attention with biases and the factor k^-1/2, without a position bias.

    Kernels are Glorot-uniform and biases 0; otherwise parameters are named as in
    `RelativeAttention`, with "NAME_bias" for the biases.
    """

    @hk.name_like("__call__")
    def query(self, x: jax.Array) -> jax.Array:
        """Projects [B, N, d] to queries times k^-1/2, [B, N, H, k]."""
        y = self._project("query", x, self.num_heads, 0.0, "joined_heads")
        return y * jnp.asarray(self.d_kv**-0.5, y.dtype)

    @hk.name_like("__call__")
    def output(self, y: jax.Array, d_model: int) -> jax.Array:
        """Projects the outputs of the heads, [B, N, H, k], to [B, N, d]."""
        inner = self.num_heads * self.d_kv
        return parameters.dense(
            "output",
            y.reshape(*y.shape[:2], inner),
            d_model,
            ("joined_heads", "embed"),
            parameters.glorot_uniform(inner, d_model),
            with_bias=True,
        )

    def _project(
        self, name: str, x: jax.Array, heads: int, stddev: float, axis: str
    ) -> jax.Array:
        del stddev
        inner = heads * self.d_kv
        y = parameters.dense(
            name,
            x,
            inner,
            ("embed", axis),
            parameters.glorot_uniform(x.shape[-1], inner),
            with_bias=True,
        )
        y = y.reshape(*x.shape[:2], heads, self.d_kv)
        return constrain(y, ("batch", None, "heads", None))


class ImageFeedForward(hk.Module):
    """`dropout(gelu(x wi + wi_bias)) wo + wo_bias`, with the tanh form of GELU.

    Kernels are Glorot-uniform and biases N(0, 1e-6^2).

    Args:
        config: config of the model.
    """

    def __init__(self, config: config_lib.VisionConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(  # [B, N, d] -> [B, N, d]
        self, x: jax.Array, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Transforms each position independently."""
        hidden = self._dense("wi", x, self.config.d_ff, ("embed", "mlp"))
        hidden = jax.nn.gelu(hidden, approximate=True)
        hidden = constrain(hidden, ("batch", None, "heads"))
        key = keys.fold(dropout_key, "hidden")
        hidden = dropout.dropout(hidden, self.config.dropout_rate, key)
        return self._dense("wo", hidden, x.shape[-1], ("mlp", "embed"))

    def _dense(
        self, name: str, x: jax.Array, width: int, axes: parameters.Axes
    ) -> jax.Array:
        return parameters.dense(
            name,
            x,
            width,
            axes,
            parameters.glorot_uniform(x.shape[-1], width),
            with_bias=True,
            bias_init=parameters.normal(1e-6),
        )


@dataclasses.dataclass(frozen=True)
class ImageFeedForwardSublayer(sublayers.Stateless):
    """Feed-forward sublayer.

    Attributes:
        module: the Haiku module.
    """

    module: ImageFeedForward

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `Sublayer`."""
        del context
        return self.module(x, dropout_key), sublayers.Extras()


def make_sublayers(
    config: config_lib.VisionConfig,
) -> dict[str, sublayers.Sublayer]:
    """Returns the sublayers of a layer."""
    module = ImageAttention(
        config.num_heads,
        config.d_kv,
        dropout_rate=config.dropout_rate,
        broadcast_dropout=config.broadcast_dropout,
        implementation=config.implementation,
        name="self_attention",
    )
    return {
        "self_attention": sublayers.SelfAttentionSublayer(module),
        "feed_forward": ImageFeedForwardSublayer(
            ImageFeedForward(config, name="feed_forward")
        ),
    }
