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

    Output t is the sum over keys s of (phi(q_t) . phi(k_s)) v_s, divided by the sum of
    the weights. Both are computed from sums over keys, so time and memory are linear in
    the length. Sums are float32; logits are not scaled.

    Shapes: B batch, T queries, S keys, H heads, G key-value heads (a divisor of H), D
    head width.

    Args:
        query: [B, T, H, D], float32 or bfloat16.
        key: [B, S, G, D], of query's dtype.
        value: [B, S, G, D], of query's dtype.
        causal: whether query t attends only to keys s <= t; requires T = S.
        key_mask: bool [B, S], True for keys that may be attended to. It multiplies
            phi(k), so that masked keys do not even contribute epsilon.
        epsilon: a Python number, at least 0. With 0, the weights of all keys may be 0.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [B, T, H, D], of query's dtype. A query without keys (all masked, or all
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
            f"queries and {key.shape[1]} keys; for decoding, use performer_step"
        )
    epsilon = float(epsilon)
    if not 0.0 <= epsilon < math.inf:
        raise ValueError(f"{_OP}: epsilon: must be finite and >= 0, got {epsilon}")
    mask = jnp.zeros((1, 0), jnp.float32)
    if key_mask is not None:
        mask = key_mask.astype(jnp.float32)
        # Masked values are set to 0, because 0 times NaN would be NaN.
        seen = key_mask[:, :, None, None]
        key, value = (jnp.where(seen, x, jnp.zeros((), x.dtype)) for x in (key, value))
    groups = query.shape[2] // key.shape[2]
    if groups > 1:
        key, value = jnp.repeat(key, groups, axis=2), jnp.repeat(value, groups, axis=2)
    operands = {"query": query, "key": key, "value": value, "mask": mask}
    settings = {"causal": bool(causal), "epsilon": epsilon}
    (output,) = _attend(operands, settings, implementation)
    return output
