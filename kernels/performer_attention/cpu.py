"""Performer attention in C++ (`cpu/performer_attention-inl.h`): at what cost."""

from typing import Any

from clinometer.kernels.cpu import wrap
from clinometer.kernels.performer_attention import specs


def _executed(query: Any, times_queries: int, times_keys: int, num_keys: int) -> int:
    batch, num_queries, num_heads, width = query.shape
    positions = times_queries * num_queries + times_keys * num_keys
    return 2 * batch * num_heads * positions * width**2


def _forward_executed(query: Any, key: Any, *_: Any, **settings: Any) -> int:
    return _executed(query, 1, 1, key.shape[1])


def _backward_executed(
    query: Any, key: Any, *_: Any, causal: bool, **settings: Any
) -> int:
    # The forward pass's states again. A causal pass also keeps the sum over queries
    # twice, transposed, where the other transposes it once.
    return _executed(query, 3 if causal else 2, 3, key.shape[1])


FORWARD = wrap.implementation(
    "performer_attention_forward", specs.forward_results, _forward_executed
)
BACKWARD = wrap.implementation(
    "performer_attention_backward", specs.backward_results, _backward_executed
)
