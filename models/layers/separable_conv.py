"""Depthwise-separable convolution.

Shapes: B batch, T length, C input channels, O output channels, K taps.
"""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.convolution import light_conv
from clinometer.models.layers import parameters


class SeparableConv(hk.Module):
    """Depthwise-separable convolution, `(depthwise(x) + b) pointwise + b`.

    See ARCHITECTURES.md#evolved-transformer-decoder-cell.

    `depthwise` [C, K] is TruncatedNormal(K^-1/2) and `pointwise` [C, O] is
    TruncatedNormal(C^-1/2); biases are 0. Positions outside of the sequence count as
    zero.

    Args:
        kernel_size: K; odd unless causal.
        num_outputs: O.
        axes: names of the axes C and O, from `parameters.AXES`.
        causal: whether the window ends at the current position; else it is centred.
        implementation: implementation of the kernel; see `kernels.light_conv`.
    """

    def __init__(
        self,
        kernel_size: int,
        num_outputs: int,
        axes: parameters.Axes,
        causal: bool = False,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.kernel_size = kernel_size
        self.num_outputs = num_outputs
        self.axes = axes
        self.causal = causal
        self.implementation = implementation

    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, C] -> [B, T, O]
        """Convolves x, which must be zero at padding."""
        y = light_conv(
            x,
            self._depthwise(x),
            causal=self.causal,
            implementation=self.implementation,
        )
        return self._pointwise(y)

    @hk.name_like("__call__")
    def step(self, window: jax.Array) -> jax.Array:  # [B, >= K, C] -> [B, 1, O]
        """Returns the causal convolution at the last position of a window."""
        y = jnp.einsum(
            "bkc,ck->bc",
            window[:, -self.kernel_size :],
            self._depthwise(window),
            preferred_element_type=jnp.float32,
        )
        return self._pointwise(y[:, None].astype(window.dtype))

    def _depthwise(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1], self.kernel_size)
        init = parameters.truncated_normal(self.kernel_size)
        return parameters.make("depthwise", shape, (self.axes[0], "taps"), init)

    def _pointwise(self, y: jax.Array) -> jax.Array:
        y = parameters.add_bias("depthwise_bias", y, self.axes[0])
        return parameters.dense(
            "pointwise", y, self.num_outputs, self.axes, with_bias=True
        )
