"""The Switch operations in C++ (`cpu/switch_*-inl.h`, `cpu/expert_matmul-inl.h`)."""

from typing import Any

from clinometer.kernels.cpu import wrap
from clinometer.kernels.switch import specs


def _slow_matmul(*_: Any, **settings: Any) -> str | None:
    from clinometer.kernels.cpu import native

    if native.active_isa() == "baseline":
        return "without AVX2, XLA's own products are faster"
    return None


def _matmul_executed(products: int, x: Any, w: Any, num_tokens: int) -> int:
    # The most that can be: only rows that hold a token are multiplied.
    groups, num_experts, capacity, _ = x.shape
    rows = groups * min(num_tokens, num_experts * capacity)
    return products * 2 * rows * w.shape[2] * w.shape[3]


def _forward_executed(x: Any, w: Any, *_: Any, num_tokens: int, **settings: Any) -> int:
    return _matmul_executed(1, x, w, num_tokens)


def _backward_executed(
    x: Any, w: Any, *_: Any, num_tokens: int, **settings: Any
) -> int:
    return _matmul_executed(2, x, w, num_tokens)


ROUTE_FORWARD = wrap.implementation(
    "switch_route_forward", specs.route_forward_results, specs.no_flops
)
ROUTE_BACKWARD = wrap.implementation(
    "switch_route_backward", specs.route_backward_results, specs.no_flops
)
DISPATCH = wrap.implementation(
    "switch_dispatch", specs.dispatch_results, specs.no_flops
)
COMBINE = wrap.implementation("switch_combine", specs.combine_results, specs.no_flops)
COMBINE_BACKWARD = wrap.implementation(
    "switch_combine_backward", specs.combine_backward_results, specs.no_flops
)
EXPERT_MATMUL_FORWARD = wrap.implementation(
    "expert_matmul_forward",
    specs.expert_matmul_forward_results,
    _forward_executed,
    sums_groups=True,
    avoid=_slow_matmul,
)
EXPERT_MATMUL_BACKWARD = wrap.implementation(
    "expert_matmul_backward",
    specs.expert_matmul_backward_results,
    _backward_executed,
    sums_groups=True,
    avoid=_slow_matmul,
)
