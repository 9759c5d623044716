"""`performer_attention`: linear attention with ReLU features."""

from collections.abc import Sequence
import math

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels.performer_attention import cpu
from clinometer.kernels.performer_attention import reference
from clinometer.kernels.performer_attention import specs
from clinometer.kernels.performer_attention import tpu

_OP = "performer_attention"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.FORWARD,
    specs.forward_flops,
    {
        "reference": declaration.Implementation(reference.forward),
        "cpu": cpu.FORWARD,
        "tpu": tpu.FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.BACKWARD,
    specs.backward_flops,
    {
        "reference": declaration.Implementation(reference.backward),
        "cpu": cpu.BACKWARD,
        "tpu": tpu.BACKWARD,
    },
)
_attend = gradient.Differentiable(FORWARD, BACKWARD, outputs=("output",))


def performer_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool = False,
    key_mask: jax.Array | None = None,
    epsilon: float = 1e-3,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Attention with weights phi(q) . phi(k), where phi(x) = max(x, 0) + epsilon.

    Output t is the sum over keys s of (phi(q_t) . phi(k_s)) v_s, over the same sum of
    the weights alone. Both are read from sums over keys, so that time and memory grow
    with the length, not with its square. Sums are float32; logits are not scaled.

    Shapes: B batch, T queries, S keys, H heads, G key-value heads (a divisor of H), D
    width of a head.

    Args:
        query: [B, T, H, D], float32 or bfloat16.
        key: [B, S, G, D], of query's dtype.
        value: [B, S, G, D], of query's dtype.
        causal: query t attends to keys s <= t only; T must be S.
        key_mask: bool [B, S], True for keys that may be attended. A factor of phi(k),
            so that not even epsilon is left of the others.
        epsilon: at least 0, a Python number. At 0 weights may vanish for all keys.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [B, T, H, D], of query's dtype. A query without any key (all masked, or all
        weights exactly 0) gives exactly 0, with gradients of exactly 0.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Choromanski et al. 2021, generalised attention with ReLU features
    (ARCHITECTURES.md#performer).
    """
    implementation = dispatch.check_implementation(_OP, implementation)
    checks.attention_arrays(_OP, query, key, value)
    if key_mask is not None:
        checks.exactly(_OP, "key_mask", key_mask, key.shape[:2], jnp.bool_)
    if causal and query.shape[1] != key.shape[1]:
        raise ValueError(
            f"{_OP}: causal: needs as many queries as keys, got {query.shape[1]} "
            f"queries and {key.shape[1]} keys; for decoding see performer_step"
        )
    epsilon = float(epsilon)
    if not 0.0 <= epsilon < math.inf:
        raise ValueError(f"{_OP}: epsilon: must be finite and >= 0, got {epsilon}")
    mask = jnp.zeros((1, 0), jnp.float32)
    if key_mask is not None:
        mask = key_mask.astype(jnp.float32)
        # Not what weighs nothing times 0, which may be NaN.
        seen = key_mask[:, :, None, None]
        key, value = (jnp.where(seen, x, jnp.zeros((), x.dtype)) for x in (key, value))
    groups = query.shape[2] // key.shape[2]
    if groups > 1:
        key, value = jnp.repeat(key, groups, axis=2), jnp.repeat(value, groups, axis=2)
    operands = {"query": query, "key": key, "value": value, "mask": mask}
    settings = {"causal": bool(causal), "epsilon": epsilon}
    (output,) = _attend(operands, settings, implementation)
    return output
