"""Convolutional sublayers in self-attention's place: lightweight and dynamic.

Shapes: B batch, S length, d model width, H heads that share a filter (channel c is of
head c * H // d), K taps.
"""

import abc
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.convolution import dynamic_conv
from clinometer.kernels.convolution import light_conv
from clinometer.models import keys
from clinometer.models.layers import dropout
from clinometer.models.layers import parameters

FORMS = ("mtf", "fairseq")


class _Convolution(hk.Module):
    """Gated linear unit, masking, convolution by normalised filters, projection."""

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

        Args:
            x: [B, S, d].
            mask: bool [B, S], False for padding, of which no other position sees
                anything; None for all True. Padding itself gets values of no use.
                Packed examples would see each other.
            dropout_key: of DropConnect; None is evaluation.
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
        """Returns the state before the first position; dtype is that of x."""
        return jnp.zeros((batch, self.kernel_size - 1, d_model), dtype)

    def step(self, x: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Decodes the next position.

        Args:
            x: [B, 1, d].
            state: [B, K - 1, d], gated inputs of the positions before.

        Returns:
            [B, 1, d], and the next state.

        Raises:
            ValueError: the module is not causal.
        """
        if not self.causal:
            raise ValueError(f"{type(self).__name__}: step: needs causal=True")
        gated = self._gated(x)
        window = jnp.concatenate([state, gated.astype(state.dtype)], axis=1)
        # [H, K] of all examples, or [B, 1, H, K]: either broadcasts to [B, H, K].
        weights = self._weights(gated, None)
        shape = (x.shape[0], *weights.shape[-2:])
        weights = jnp.broadcast_to(weights.reshape(-1, *weights.shape[-2:]), shape)
        heads = window.reshape(*window.shape[:2], weights.shape[1], -1)
        y = jnp.einsum(
            "bkhc,bhk->bhc", heads, weights, preferred_element_type=jnp.float32
        )
        return self._project(y.reshape(x.shape).astype(x.dtype)), window[:, 1:]

    def _gated(self, x: jax.Array) -> jax.Array:
        # Glorot counts the two as the one matrix [d, 2 d] that they are in fairseq.
        value, gate = (
            self._dense(name, x, ("embed", "channels"), fan_outs=2)
            for name in ("value", "gate")
        )
        return value * jax.nn.sigmoid(gate)

    @abc.abstractmethod
    def _weights(self, gated: jax.Array, key: jax.Array | None) -> jax.Array:
        """Filters [H, K], or [B, S, H, K] by gated inputs [B, S, d]."""

    def _project(self, y: jax.Array) -> jax.Array:
        axis = "channels"
        if self.pointwise:
            y = self._dense("pointwise", y, (axis, "hidden_channels"))
            axis = "hidden_channels"
        return self._dense("output", y, (axis, "embed"))

    def _dropconnect(self, logits: jax.Array, key: jax.Array | None) -> jax.Array:
        """Normalises over the taps, then drops; what is left is not normalised."""
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        return dropout.dropout(weights, self.dropconnect_rate, key)

    def _dense(
        self, name: str, x: jax.Array, axes: parameters.Axes, fan_outs: int = 1
    ) -> jax.Array:
        """Dense with bias, d -> d; Glorot counts `fan_outs` such layers as one."""
        width, init = x.shape[-1], None
        if self.form == "fairseq":
            init = parameters.glorot_uniform(width, fan_outs * width)
        return parameters.dense(name, x, width, axes, init, with_bias=True)


class LightConv(_Convolution):
    """Lightweight convolution: one learned filter for each head, or each channel.

    `mtf`: x -> (x value + b) * sigmoid(x gate + b) -> depthwise convolution + b ->
    dense + b -> dense + b; 4 d^2 + 5 d + H K parameters. Dense kernels
    TruncatedNormal(d^-1/2), filter logits TruncatedNormal(K^-1/2), biases 0.
    `fairseq`: the same without the depthwise bias and the dense between (pointwise);
    3 d^2 + 3 d + H K parameters. Glorot-uniform, biases 0; value and gate as the one
    [d, 2 d] matrix that they are there.

    Filters are normalised by softmax over the taps, then DropConnect drops weights.
    Positions outside of the sequence count as zero; weights are not renormalised.

    Source: Wu et al. 2019; ARCHITECTURES.md#lightweight-convolution. Where public code
    disagrees: Mesh TensorFlow never hands the number of filters on, so that there each
    channel has its own, and would tile shared ones (channel c of head c mod H); fairseq
    shares by contiguous blocks of channels, and so does this in both forms.

    Args:
        num_heads: H, a divisor of d; None for d, a filter for each channel.
        kernel_size: K, at most 63; odd unless causal.
        causal: positions take themselves and those before only, else a centred window.
        form: one of `FORMS`.
        dropconnect_rate: rate on the normalised weights.
        implementation: of the kernel; see `kernels.light_conv`.
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
    """Dynamic convolution: a filter for each position and head, predicted there.

    x -> (x value + b) * sigmoid(x gate + b) = z -> convolution of z by
    softmax(z filter) over the taps -> dense + b; 3 d^2 + 3 d + d H K parameters,
    Glorot-uniform, biases 0, and none for the filters. DropConnect comes after softmax.
    Positions outside of the sequence count as zero; weights are not renormalised.

    Source: Wu et al. 2019, fairseq's form; ARCHITECTURES.md#dynamic-convolution. Where
    public code disagrees: Mesh TensorFlow predicts each tap by a dense layer d -> d
    with bias, K d^2 parameters, which is not here, and has `LightConv`'s pointwise
    dense, which is an option.

    Args:
        num_heads: H, a divisor of d.
        kernel_size: K, at most 63; odd unless causal.
        causal: positions take themselves and those before only, else a centred window.
        pointwise: one more dense d -> d with bias before the output's.
        dropconnect_rate: rate on the normalised weights.
        implementation: of the kernel; see `kernels.dynamic_conv`.
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
        logits = logits.reshape(*gated.shape[:2], self.num_heads, self.kernel_size)
        # In the compute dtype: these are K H / d times as large as x.
        return self._dropconnect(logits, key).astype(gated.dtype)
