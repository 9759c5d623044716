"""The C++ Performer attention: when it runs, and FLOPs."""

from typing import Any

from clinometer.kernels.cpu import wrap
from clinometer.kernels.performer_attention import specs

_WIDEST = 128  # Of a bidirectional head; measured with AVX2.


def _refuse(query: Any, causal: bool, **_: Any) -> str | None:
    if not causal and query.shape[3] > _WIDEST:
        return (
            f"bidirectional heads wider than {_WIDEST} are products that XLA computes "
            "just as fast"
        )
    return None


def _executed(query: Any, times_queries: int, times_keys: int, num_keys: int) -> int:
    batch, num_queries, num_heads, width = query.shape
    positions = times_queries * num_queries + times_keys * num_keys
    return 2 * batch * num_heads * positions * width**2


def _forward_executed(query: Any, key: Any, **_: Any) -> int:
    return _executed(query, 1, 1, key.shape[1])


def _backward_executed(query: Any, key: Any, causal: bool, **_: Any) -> int:
    # Includes the forward pass's states. A causal pass also maintains a transposed copy
    # of the sum over queries, which the other pass transposes once.
    return _executed(query, 3 if causal else 2, 3, key.shape[1])


FORWARD = wrap.implementation(
    "performer_attention_forward", specs.FORWARD, _forward_executed, _refuse
)
BACKWARD = wrap.implementation(
    "performer_attention_backward", specs.BACKWARD, _backward_executed, _refuse
)
