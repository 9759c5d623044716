"""Lightweight and dynamic convolution, which replace self-attention.

Shapes: B batch, S length, d model width, H heads (channel c belongs to head c * H // d,
whose channels share a filter), K taps.
"""

import abc
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.kernels.convolution import dynamic_conv
from clinometer.kernels.convolution import light_conv
from clinometer.models import keys
from clinometer.models.layers import dropout
from clinometer.models.layers import parameters

FORMS = ("mtf", "fairseq")


class _Convolution(hk.Module):
    """Gated linear unit, masking, convolution with normalised filters, projection."""

    def __init__(
        self,
        kernel_size: int,
        causal: bool,
        form: str,
        pointwise: bool,
        dropconnect_rate: float,
        implementation: str | Sequence[str],
        name: str | None,
    ):
        super().__init__(name=name)
        if form not in FORMS:
            raise ValueError(
                f"{type(self).__name__}: form: unknown {form!r}; accepted: "
                f"{', '.join(FORMS)}"
            )
        self.kernel_size = kernel_size
        self.causal = causal
        self.form = form
        self.pointwise = pointwise
        self.dropconnect_rate = dropconnect_rate
        self.implementation = implementation

    def __call__(
        self,
        x: jax.Array,  # [B, S, d]
        mask: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:  # [B, S, d]
        """Convolves along the sequence.

        Packed examples would see each other.

        Args:
            x: [B, S, d].
            mask: bool [B, S], False at padding, which has no influence on other
                positions and whose own outputs are meaningless; None for all True.
            dropout_key: random key of DropConnect; None for evaluation.

        Returns:
            [B, S, d].
        """
        gated = self._gated(x)
        if mask is not None:
            gated = jnp.where(mask[:, :, None], gated, jnp.zeros((), x.dtype))
        weights = self._weights(gated, keys.fold(dropout_key, "weights"))
        convolve = light_conv if weights.ndim == 2 else dynamic_conv
        y = convolve(
            gated, weights, causal=self.causal, implementation=self.implementation
        )
        return self._project(y)

    def init_state(
        self, batch: int, d_model: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> jax.Array:  # [B, K - 1, d]
        """Returns the initial state for decoding.

        Args:
            batch: B.
            d_model: d.
            dtype: dtype of x.
        """
        return jnp.zeros((batch, self.kernel_size - 1, d_model), dtype)

    def step(self, x: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Decodes the next position.

        Args:
            x: [B, 1, d].
            state: gated inputs of the preceding positions, [B, K - 1, d].

        Returns:
            [B, 1, d] and the next state.

        Raises:
            ValueError: the module is not causal.
        """
        if not self.causal:
            raise ValueError(f"{type(self).__name__}: step: needs causal=True")
        gated = self._gated(x)
        window = jnp.concatenate([state, gated.astype(state.dtype)], axis=1)
        # Either [H, K], the same for all examples, or [B, 1, H, K].
        weights = self._weights(gated, None)
        shape = (x.shape[0], *weights.shape[-2:])
        weights = jnp.broadcast_to(weights.reshape(-1, *weights.shape[-2:]), shape)
        heads = window.reshape(*window.shape[:2], weights.shape[1], -1)
        y = jnp.einsum(
            "bkhc,bhk->bhc", heads, weights, preferred_element_type=jnp.float32
        )
        return self._project(y.reshape(x.shape).astype(x.dtype)), window[:, 1:]

    def _gated(self, x: jax.Array) -> jax.Array:
        # In fairseq, both are one matrix [d, 2 d], so Glorot's fan-out is 2 d.
        value, gate = (
            self._dense(name, x, ("embed", "channels"), fan_outs=2)
            for name in ("value", "gate")
        )
        return constrain(value * jax.nn.sigmoid(gate), ("batch", None, "heads"))

    @abc.abstractmethod
    def _weights(self, gated: jax.Array, key: jax.Array | None) -> jax.Array:
        """Returns filters [H, K], or [B, S, H, K] from gated inputs [B, S, d]."""

    def _project(self, y: jax.Array) -> jax.Array:
        axis = "channels"
        if self.pointwise:
            y = self._dense("pointwise", y, (axis, "hidden_channels"))
            axis = "hidden_channels"
        return self._dense("output", y, (axis, "embed"))

    def _dropconnect(self, logits: jax.Array, key: jax.Array | None) -> jax.Array:
        """Normalises over the taps, then drops weights without renormalising."""
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        return dropout.dropout(weights, self.dropconnect_rate, key)

    def _dense(
        self, name: str, x: jax.Array, axes: parameters.Axes, fan_outs: int = 1
    ) -> jax.Array:
        """Applies a dense layer with bias, d -> d; Glorot's fan-out is fan_outs d."""
        width, init = x.shape[-1], None
        if self.form == "fairseq":
            init = parameters.glorot_uniform(width, fan_outs * width)
        return parameters.dense(name, x, width, axes, init, with_bias=True)


class LightConv(_Convolution):
    """Lightweight convolution, with one learned filter per head or per channel.

    Form `mtf`: x -> (x value + b) * sigmoid(x gate + b) -> depthwise convolution + b ->
    dense + b -> dense + b; 4 d^2 + 5 d + H K parameters. Dense kernels are
    TruncatedNormal(d^-1/2), filter logits TruncatedNormal(K^-1/2), biases 0.
    Form `fairseq`: the same without the depthwise bias and the pointwise dense layer;
    3 d^2 + 3 d + H K parameters. Kernels are Glorot-uniform, with value and gate as one
    matrix [d, 2 d], and biases 0.

    Filters are normalised by a softmax over the taps, then DropConnect drops weights.
    Positions outside of the sequence count as zero; weights are not renormalised.

    Source: Wu et al. 2019; ARCHITECTURES.md#lightweight-convolution. Where public code
    disagrees: Mesh TensorFlow never passes on the number of filters, so that each
    channel has its own, and would tile shared ones (channel c belongs to head c mod H);
    fairseq shares them by contiguous blocks of channels, as does this module in both
    forms.

    Args:
        num_heads: H, a divisor of d; None for d, one filter per channel.
        kernel_size: K, at most 63; odd unless causal.
        causal: whether the window ends at the current position; else it is centred.
        form: one of `FORMS`.
        dropconnect_rate: DropConnect rate on the normalised weights.
        implementation: implementation of the kernel; see `kernels.light_conv`.
    """

    def __init__(
        self,
        num_heads: int | None = None,
        kernel_size: int = 31,
        causal: bool = False,
        form: str = "mtf",
        dropconnect_rate: float = 0.0,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(
            kernel_size,
            causal,
            form,
            form == "mtf",
            dropconnect_rate,
            implementation,
            name,
        )
        self.num_heads = num_heads

    def _weights(self, gated: jax.Array, key: jax.Array | None) -> jax.Array:
        shape = (self.num_heads or gated.shape[-1], self.kernel_size)
        if self.form == "mtf":
            init = parameters.truncated_normal(self.kernel_size)
        else:
            init = parameters.glorot_uniform(*shape)
        axes = ("heads" if self.num_heads else "channels", "taps")
        logits = parameters.make("filter", shape, axes, init)
        return self._dropconnect(logits, key)

    def _project(self, y: jax.Array) -> jax.Array:
        if self.form == "mtf":
            y = parameters.add_bias("filter_bias", y, "channels")
        return super()._project(y)


class DynamicConv(_Convolution):
    """Dynamic convolution, with one predicted filter per position and head.

    x -> (x value + b) * sigmoid(x gate + b) = z -> convolution of z with
    softmax(z filter) over the taps -> dense + b; 3 d^2 + 3 d + d H K parameters.
    Kernels are Glorot-uniform and biases 0; the filters have no bias. DropConnect
    follows the softmax. Positions outside of the sequence count as zero; weights are
    not renormalised.

    Source: Wu et al. 2019, fairseq's form; ARCHITECTURES.md#dynamic-convolution. Where
    public code disagrees: Mesh TensorFlow predicts each tap with a dense layer d -> d
    with bias, K d^2 parameters, which is not implemented, and has `LightConv`'s
    pointwise dense layer, which is an option.

    Args:
        num_heads: H, a divisor of d.
        kernel_size: K, at most 63; odd unless causal.
        causal: whether the window ends at the current position; else it is centred.
        pointwise: add a dense layer d -> d with bias before the output projection.
        dropconnect_rate: DropConnect rate on the normalised weights.
        implementation: implementation of the kernel; see `kernels.dynamic_conv`.
    """

    def __init__(
        self,
        num_heads: int,
        kernel_size: int = 31,
        causal: bool = False,
        pointwise: bool = False,
        dropconnect_rate: float = 0.0,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(
            kernel_size,
            causal,
            "fairseq",
            pointwise,
            dropconnect_rate,
            implementation,
            name,
        )
        self.num_heads = num_heads

    def _weights(self, gated: jax.Array, key: jax.Array | None) -> jax.Array:
        shape = (gated.shape[-1], self.num_heads * self.kernel_size)
        init = parameters.glorot_uniform(*shape)
        logits = parameters.dense(
            "filter", gated, shape[1], ("channels", "joined_taps"), init
        )
        # All heads, as each depends on all channels, and the gradient on all heads.
        logits = constrain(logits, ("batch", None, None))
        logits = logits.reshape(*gated.shape[:2], self.num_heads, self.kernel_size)
        # In the compute dtype, as they are K H / d times as large as x.
        return self._dropconnect(logits, key).astype(gated.dtype)
