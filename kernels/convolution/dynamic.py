"""`dynamic_conv`: convolution with a filter for each position and head."""

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

_OP = "dynamic_conv"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.DYNAMIC_FORWARD,
    specs.forward_flops,
    {
        "reference": declaration.Implementation(reference.dynamic_forward),
        "cpu": cpu.DYNAMIC_FORWARD,
        "tpu": tpu.DYNAMIC_FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.DYNAMIC_BACKWARD,
    specs.backward_flops,
    {
        "reference": declaration.Implementation(reference.dynamic_backward),
        "cpu": cpu.DYNAMIC_BACKWARD,
        "tpu": tpu.DYNAMIC_BACKWARD,
    },
)
_convolve = gradient.Differentiable(FORWARD, BACKWARD, outputs=("output",))


def dynamic_conv(
    x: jax.Array,
    weights: jax.Array,
    *,
    causal: bool,
    mask: jax.Array | None = None,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Depthwise convolution along the sequence with weights of each position and head.

    No array of [B, S, d, K] is made by any implementation.

    Position s takes the positions s + j - p by weight j: p is K - 1 if causal, else
    (K - 1) / 2. Positions outside of the sequence count as zero, and the others'
    weights are not renormalised. Weights are used as they are: softmax over the taps,
    and DropConnect, come before. Sums are float32.

    Shapes: B batch, S length, d channels, H heads (a divisor of d), K taps.

    Args:
        x: [B, S, d], float32 or bfloat16. Channel c is of head c * H // d.
        weights: [B, S, H, K], float32 or bfloat16.
        causal: no position takes a later one; else the window is centred, K odd.
        mask: bool [B, S]; x is zeroed where False. None for all True.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [B, S, d], of x's dtype.

    Raises:
        ValueError: shapes, dtypes or settings do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Wu et al. 2019 (ARCHITECTURES.md#dynamic-convolution).
    """
    implementation = dispatch.check_implementation(_OP, implementation)
    check.arguments(_OP, x, weights, "batch, length, heads, taps", mask, causal)
    operands = {"x": check.masked(x, mask), "weights": weights}
    settings = {"causal": causal}
    (output,) = _convolve(operands, settings, implementation)
    return output
