"""The C++ convolutions (`cpu/{light,dynamic}_conv-inl.h`): when they run, and FLOPs."""

import math
from typing import Any

from clinometer.kernels.convolution import specs
from clinometer.kernels.cpu import wrap

_GRAD_ROWS = 6  # kGradRows: rows of a product whose diagonals are weight gradients.


# Elements of x up to which no form is avoided: the arrays fit into the caches, where
# forms that are slower for large arrays are not.
_SMALL = 1 << 15


def _avoid_light_backward(x: Any, weights: Any, **_: Any) -> str | None:
    if math.prod(x.shape) > _SMALL and weights.shape[2] < 3:
        return "measured slower than jnp with fewer than 3 taps"
    return None


def _avoid_dynamic_forward(x: Any, weights: Any, **_: Any) -> str | None:
    # A weight is shared by the channels of its head; vectorization needs many of them.
    if math.prod(x.shape) > _SMALL and x.shape[2] < 16 * weights.shape[2]:
        return "measured slower than jnp with fewer than 16 channels a head"
    return None


def _avoid_dynamic_backward(x: Any, weights: Any, **_: Any) -> str | None:
    if math.prod(x.shape) <= _SMALL:
        return None
    num_heads, taps = weights.shape[2:]
    width = x.shape[2] // num_heads
    if taps < 3:
        return "measured slower than jnp with fewer than 3 taps"
    if width < 8 or (width < 16 and taps < 7):
        return f"measured slower than jnp with {width} channels a head and {taps} taps"
    return None


def _dynamic_backward_executed(x: Any, weights: Any, **_: Any) -> int:
    batch, length, channels = x.shape
    taps = weights.shape[3]
    whole, rest = divmod(length, _GRAD_ROWS)
    columns = whole * _GRAD_ROWS * (_GRAD_ROWS + taps - 1) + rest * (rest + taps - 1)
    products = 2 * batch * channels * columns
    return specs.forward_flops(x, weights) + products


LIGHT_FORWARD = wrap.implementation(
    "light_conv_forward", specs.LIGHT_FORWARD, specs.forward_flops
)
LIGHT_BACKWARD = wrap.implementation(
    "light_conv_backward",
    specs.LIGHT_BACKWARD,
    specs.backward_flops,
    avoid=_avoid_light_backward,
)
DYNAMIC_FORWARD = wrap.implementation(
    "dynamic_conv_forward",
    specs.DYNAMIC_FORWARD,
    specs.forward_flops,
    avoid=_avoid_dynamic_forward,
)
DYNAMIC_BACKWARD = wrap.implementation(
    "dynamic_conv_backward",
    specs.DYNAMIC_BACKWARD,
    _dynamic_backward_executed,
    avoid=_avoid_dynamic_backward,
)
