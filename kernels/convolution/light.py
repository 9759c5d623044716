"""`light_conv`: lightweight convolution, one filter a head."""

from collections.abc import Sequence

import jax

from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels.convolution import check
from clinometer.kernels.convolution import cpu
from clinometer.kernels.convolution import reference
from clinometer.kernels.convolution import specs
from clinometer.kernels.convolution import tpu

_OP = "light_conv"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.LIGHT_FORWARD,
    specs.forward_flops,
    {
        "reference": declaration.Implementation(reference.light_forward),
        "cpu": cpu.LIGHT_FORWARD,
        "tpu": tpu.LIGHT_FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.LIGHT_BACKWARD,
    specs.backward_flops,
    {
        "reference": declaration.Implementation(reference.light_backward),
        "cpu": cpu.LIGHT_BACKWARD,
        "tpu": tpu.LIGHT_BACKWARD,
    },
)
_convolve = gradient.Differentiable(FORWARD, BACKWARD, outputs=("output",))


def light_conv(
    x: jax.Array,
    weights: jax.Array,
    *,
    causal: bool,
    mask: jax.Array | None = None,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Depthwise convolution along the sequence; the channels of a head share weights.

    Position s takes the positions s + j - p by weight j: p is K - 1 if causal, else
    (K - 1) / 2. Positions outside of the sequence count as zero, and the others'
    weights are not renormalised. Weights are used as they are: softmax over the taps,
    and DropConnect, come before. Sums are float32.

    Shapes: B batch, S length, d channels, H heads (a divisor of d), K taps.

    Args:
        x: [B, S, d], float32 or bfloat16. Channel c is of head c * H // d.
        weights: [H, K], float32 or bfloat16; H = d is a filter for each channel.
        causal: no position takes a later one; else the window is centred, K odd.
        mask: bool [B, S]; x is zeroed where False. None for all True.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [B, S, d], of x's dtype.

    Raises:
        ValueError: shapes, dtypes or settings do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Wu et al. 2019 (ARCHITECTURES.md#lightweight-convolution).
    """
    implementation = dispatch.check_implementation(_OP, implementation)
    check.arguments(_OP, x, weights, "heads, taps", mask, causal)
    operands = {"x": check.masked(x, mask), "weights": weights[None]}
    settings = {"causal": causal, "groups": 1}
    (output,) = _convolve(operands, settings, implementation)
    return output
