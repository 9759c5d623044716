"""The C++ relative attention: when it runs, and FLOPs."""

import math
from typing import Any

import jax.numpy as jnp

from clinometer.kernels.cpu import wrap
from clinometer.kernels.relative_attention import specs

# kQueryBlock: keys after the block's last query are skipped.
_QUERY_BLOCK, _QUERY_BLOCK_AMX = 48, 64

# Elements of the keys up to which a decoding step mostly consists of the call overhead
# and of computing the bias, which XLA fuses into the reference. Measured with AVX2.
_SHORT_STEP = 1 << 15


def _refuse(multiplier: Any, **_: Any) -> str | None:
    if multiplier.size:
        return "dropout that is not shared by the queries needs all weights at once"
    return None


def _avoid_forward(query: Any, key: Any, bias: Any, **_: Any) -> str | None:
    is_step = query.shape[1] == 1 and bias.shape[2] > 0
    if is_step and math.prod(key.shape) <= _SHORT_STEP:
        return "measured slower than jnp for one query with a bias over few keys"
    return None


def _executed(products: int, query: Any, key: Any, causal: bool) -> int:
    batch, num_queries, num_heads, width = query.shape
    num_keys = key.shape[1]
    scores = num_queries * num_keys
    if causal:
        block, scores = _query_block(query.dtype), 0
        for start in range(0, num_queries, block):
            stop = min(start + block, num_queries)
            scores += (stop - start) * min(stop, num_keys)
    return products * 2 * batch * num_heads * width * scores


def _query_block(dtype: Any) -> int:
    from clinometer.kernels.cpu import native

    multiplies_tiles = dtype == jnp.bfloat16 and native.active_isa() == "amx"
    return _QUERY_BLOCK_AMX if multiplies_tiles else _QUERY_BLOCK


def _forward_executed(query: Any, key: Any, causal: bool, **_: Any) -> int:
    return _executed(2, query, key, causal)


def _backward_executed(query: Any, key: Any, causal: bool, **_: Any) -> int:
    # The logits are recomputed.
    return _executed(5, query, key, causal)


FORWARD = wrap.implementation(
    "relative_attention_forward",
    specs.FORWARD,
    _forward_executed,
    _refuse,
    _avoid_forward,
    without=("multiplier",),
    multiplied=("query", "key", "value"),
)
BACKWARD = wrap.implementation(
    "relative_attention_backward",
    specs.BACKWARD,
    _backward_executed,
    _refuse,
    without=("multiplier",),
    multiplied=("query", "key", "value", "output", "output_grad"),
)
