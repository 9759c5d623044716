"""`expert_matmul`: one product for each expert, of the slots that are filled."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels import checks
from clinometer.kernels import dispatch
from clinometer.kernels.switch import cpu
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.switch import tpu_experts

_OP = "expert_matmul"
_WEIGHTS = 1  # the place of w among the operands

FORWARD = dispatch.Kernel(
    _OP,
    "forward",
    specs.expert_matmul_forward_results,
    specs.expert_matmul_forward_flops,
    {
        "reference": dispatch.Implementation(reference.expert_matmul_forward),
        "cpu": cpu.EXPERT_MATMUL_FORWARD,
        "tpu": tpu_experts.FORWARD,
    },
    shared=(_WEIGHTS,),
    expert_axes=((1, 1, 1), (1,)),
)
BACKWARD = dispatch.Kernel(
    _OP,
    "backward",
    specs.expert_matmul_backward_results,
    specs.expert_matmul_backward_flops,
    {
        "reference": dispatch.Implementation(reference.expert_matmul_backward),
        "cpu": cpu.EXPERT_MATMUL_BACKWARD,
        "tpu": tpu_experts.BACKWARD,
    },
    shared=(_WEIGHTS,),
    expert_axes=((1, 1, 1, 1), (1, 1)),
)


def expert_matmul(
    x: jax.Array,
    w: jax.Array,
    counts: jax.Array,
    *,
    num_tokens: int,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Multiplies each expert's filled slots by the expert's matrix.

    One expert is the dense product, by `jnp.dot` in every implementation, so that it
    equals a dense layer bit for bit.

    Args:
        x: [G, E, C, d], float32 or bfloat16.
        w: [E, d, f], of x's dtype.
        counts: int32 [G, E] of a `Route`; rows from counts[g, e] on count as zero.
        num_tokens: N, tokens a group, which the declared FLOPs count.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [G, E, C, f], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: shapes, dtypes or settings do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-routing).
    """
    name = dispatch.check_implementation(_OP, implementation)
    checks.floats(_OP, "x", x, "groups, experts, capacity, width")
    checks.floats(_OP, "w", w, "experts, input width, output width")
    groups, num_experts, capacity, width = x.shape
    checks.exactly(_OP, "w", w, (num_experts, width, w.shape[2]), x.dtype)
    checks.exactly(_OP, "counts", counts, (groups, num_experts), jnp.int32)
    if num_tokens < 1:
        raise ValueError(f"{_OP}: num_tokens: must be at least 1, got {num_tokens}")
    if num_experts == 1:
        filled = (jnp.arange(capacity, dtype=jnp.int32)[None] < counts)[..., None]
        rows = jnp.where(filled, x[:, 0], 0)
        return jnp.where(filled, jnp.dot(rows, w[0]), 0)[:, None]
    return _matmul(x, w[None], counts, num_tokens, name)


def expert_feed_forward(
    x: jax.Array,
    wi: jax.Array,
    wo: jax.Array,
    counts: jax.Array,
    *,
    num_tokens: int,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    hidden_dropout: Callable[[jax.Array], jax.Array] | None = None,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Runs each expert's feed-forward layer on its filled slots.

    Args:
        x: [G, E, C, d], float32 or bfloat16.
        wi: [E, d, f], of x's dtype.
        wo: [E, f, d], of x's dtype.
        counts: int32 [G, E] of a `Route`.
        num_tokens: N, tokens a group, which the declared FLOPs count.
        activation: elementwise, of the hidden rows.
        hidden_dropout: of the hidden rows [G, E, C, f] after the activation.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [G, E, C, d], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: as `expert_matmul`.
        dispatch.NotSupportedError: as `expert_matmul`.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-routing).
    """
    matmul = functools.partial(
        expert_matmul,
        counts=counts,
        num_tokens=num_tokens,
        implementation=implementation,
    )
    hidden = activation(matmul(x, wi))
    if hidden_dropout is not None:
        hidden = hidden_dropout(hidden)
    return matmul(hidden, wo)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _matmul(
    x: jax.Array,
    w: jax.Array,
    counts: jax.Array,
    num_tokens: int,
    implementation: str | tuple[str, ...],
) -> jax.Array:
    return _forward(x, w, counts, num_tokens, implementation)[0]


def _forward(
    x: jax.Array,
    w: jax.Array,
    counts: jax.Array,
    num_tokens: int,
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, Any]:
    operands = (x, w, counts)
    settings = _settings(x, num_tokens)
    (y,) = dispatch.call(FORWARD, operands, settings, implementation)
    return y, operands


def _backward(
    num_tokens: int,
    implementation: str | tuple[str, ...],
    residuals: Any,
    y_grad: jax.Array,
) -> tuple[Any, ...]:
    settings = _settings(residuals[0], num_tokens)
    x_grad, w_grad = dispatch.call(
        BACKWARD, (*residuals, y_grad), settings, implementation
    )
    return x_grad, w_grad, np.zeros(residuals[2].shape, jax.dtypes.float0)


def _settings(x: jax.Array, num_tokens: int) -> dispatch.Settings:
    # Of all experts: a device may have a part of them, and so of the tokens.
    return {"num_tokens": num_tokens, "num_experts": x.shape[1], "groups": 1}


_matmul.defvjp(_forward, _backward)
