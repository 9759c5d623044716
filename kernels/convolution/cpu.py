"""Convolutions in C++ (`cpu/{light,dynamic}_conv-inl.h`): when and at what cost."""

import math
from typing import Any

from clinometer.kernels.convolution import specs
from clinometer.kernels.cpu import wrap

_GRAD_ROWS = 6  # kGradRows: of a product, whose diagonals are the weights' gradients


def _dynamic_backward_executed(
    x: Any, weights: Any, output_grad: Any, **settings: Any
) -> int:
    batch = max(x.shape[0], weights.shape[0], output_grad.shape[0])
    length, channels = x.shape[1:]
    taps = weights.shape[3]
    whole, rest = divmod(length, _GRAD_ROWS)
    columns = whole * _GRAD_ROWS * (_GRAD_ROWS + taps - 1) + rest * (rest + taps - 1)
    products = 2 * batch * channels * columns
    return 2 * batch * math.prod(x.shape[1:]) * taps + products


LIGHT_FORWARD = wrap.implementation(
    "light_conv_forward", specs.forward_results, specs.forward_flops
)
LIGHT_BACKWARD = wrap.implementation(
    "light_conv_backward", specs.light_backward_results, specs.backward_flops
)
DYNAMIC_FORWARD = wrap.implementation(
    "dynamic_conv_forward", specs.forward_results, specs.forward_flops
)
DYNAMIC_BACKWARD = wrap.implementation(
    "dynamic_conv_backward", specs.dynamic_backward_results, _dynamic_backward_executed
)
