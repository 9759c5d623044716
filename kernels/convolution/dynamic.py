"""`dynamic_conv`: convolution with a separate filter per position and head."""

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
    """Depthwise convolution along the sequence, with weights per position and head.

    No implementation materializes an array [B, S, d, K].

    Output s is the sum over taps j of weight j times input s + j - p, where p is K - 1
    if causal, else (K - 1) / 2. Positions outside the sequence are zero, and the other
    weights are not renormalized. Softmax over the taps and DropConnect must be applied
    to the weights beforehand. Sums are accumulated in float32.

    Shapes: B batch, S length, d channels, H heads (a divisor of d), K taps.

    Args:
        x: [B, S, d], float32 or bfloat16. Channel c belongs to head c * H // d.
        weights: [B, S, H, K], float32 or bfloat16.
        causal: if True, outputs depend only on current and earlier inputs; otherwise
            the window is centered and K must be odd.
        mask: bool [B, S]; x is set to zero where it is False. None for all True.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [B, S, d], of x's dtype.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Wu et al. 2019 (ARCHITECTURES.md#dynamic-convolution).
    """
    implementation = dispatch.check_implementation(_OP, implementation)
    check.arguments(_OP, x, weights, "batch, length, heads, taps", mask, causal)
    operands = {"x": check.masked(x, mask), "weights": weights}
    settings = {"causal": causal}
    (output,) = _convolve(operands, settings, implementation)
    return output
