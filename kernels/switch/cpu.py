"""The Switch operations in C++ (`cpu/switch_*-inl.h`, `cpu/expert_matmul-inl.h`)."""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from clinometer.kernels.cpu import wrap
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs


def _slow_matmul(**_: Any) -> str | None:
    from clinometer.kernels.cpu import native

    if native.active_isa() == "baseline":
        return "without AVX2, XLA's own matmuls are faster"
    return None


# Bytes written from which dispatch is memory-bound, and C++ with AVX-512 is no faster;
# measured, see RESULTS.md.
_FROM_MEMORY = 4 << 20
_FROM_MEMORY_BACKWARD = 1 << 20


def _avoid_moving(written: int, most: int) -> str | None:
    from clinometer.kernels.cpu import native

    if written >= most and native.active_isa() not in ("baseline", "avx2"):
        size = f"{most >> 20} MiB of rows or more"
        return f"measured slower than jnp with AVX-512 for {size}"
    return None


def _avoid_dispatch(x: Any, num_experts: int, capacity: int, **_: Any) -> str | None:
    groups, _, width = x.shape
    return _avoid_moving(4 * groups * num_experts * capacity * width, _FROM_MEMORY)


def _avoid_dispatch_backward(y_grad: Any, slot: Any, **_: Any) -> str | None:
    written = 4 * math.prod(slot.shape) * y_grad.shape[3]
    return _avoid_moving(written, _FROM_MEMORY_BACKWARD)


def _forward_executed(
    x: Any, w: Any, num_tokens: int, num_experts: int, **_: Any
) -> int:
    # An upper bound: only rows that hold a token are multiplied.
    slots = x.shape[0] * x.shape[1] * x.shape[2]
    rows = min(specs.tokens_here(x, num_tokens, num_experts), slots)
    return 2 * rows * w.shape[2] * w.shape[3]


def _backward_executed(**given: Any) -> int:
    return 2 * _forward_executed(**given)


def _feed_forward_executed(executed: Callable[..., int], **given: Any) -> int:
    wi, wo = given.pop("wi"), given.pop("wo")
    return sum(executed(w=w, **given) for w in (wi, wo))


ROUTE_FORWARD = wrap.implementation(
    "switch_route_forward", specs.ROUTE_FORWARD, specs.no_flops
)
ROUTE_BACKWARD = wrap.implementation(
    "switch_route_backward", specs.ROUTE_BACKWARD, specs.no_flops
)
DISPATCH = wrap.implementation(
    "switch_dispatch", specs.DISPATCH_FORWARD, specs.no_flops, avoid=_avoid_dispatch
)
DISPATCH_BACKWARD = wrap.implementation(
    "switch_combine",
    specs.DISPATCH_BACKWARD,
    specs.no_flops,
    avoid=_avoid_dispatch_backward,
)
COMBINE = wrap.implementation("switch_combine", specs.COMBINE_FORWARD, specs.no_flops)
COMBINE_BACKWARD = wrap.implementation(
    "switch_combine_backward", specs.COMBINE_BACKWARD, specs.no_flops
)
EXPERT_MATMUL_FORWARD = wrap.implementation(
    "expert_matmul_forward",
    specs.EXPERT_MATMUL_FORWARD,
    _forward_executed,
    sums_groups=True,
    cost_settings=("num_tokens", "num_experts"),
    avoid=_slow_matmul,
)
EXPERT_MATMUL_BACKWARD = wrap.implementation(
    "expert_matmul_backward",
    specs.EXPERT_MATMUL_BACKWARD,
    _backward_executed,
    sums_groups=True,
    cost_settings=("num_tokens", "num_experts"),
    avoid=_slow_matmul,
)

# Both products in one pass: the C++ kernels of `expert_matmul`, one after the other.
FEED_FORWARD_FORWARD = dataclasses.replace(
    EXPERT_MATMUL_FORWARD,
    run=functools.partial(
        reference.feed_forward_forward, matmul=EXPERT_MATMUL_FORWARD.run
    ),
    executed_flops=functools.partial(_feed_forward_executed, _forward_executed),
)
FEED_FORWARD_BACKWARD = dataclasses.replace(
    EXPERT_MATMUL_BACKWARD,
    run=functools.partial(
        reference.feed_forward_backward, matmul=EXPERT_MATMUL_BACKWARD.run
    ),
    executed_flops=functools.partial(_feed_forward_executed, _backward_executed),
)
