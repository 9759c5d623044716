"""`switch_dispatch` and `switch_combine`: rows from tokens to slots, and back."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels import checks
from clinometer.kernels import dispatch
from clinometer.kernels.switch import check
from clinometer.kernels.switch import cpu
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.switch import tpu_rows

_DISPATCH, _COMBINE = "switch_dispatch", "switch_combine"

# Each is the adjoint of the other: dispatch goes back by combine with gates of 1.
DISPATCH_FORWARD = dispatch.Kernel(
    _DISPATCH,
    "forward",
    specs.dispatch_results,
    specs.no_flops,
    {
        "reference": dispatch.Implementation(reference.dispatch),
        "cpu": cpu.DISPATCH,
        "tpu": tpu_rows.DISPATCH,
    },
)
DISPATCH_BACKWARD = dispatch.Kernel(
    _DISPATCH,
    "backward",
    specs.combine_results,
    specs.no_flops,
    {
        "reference": dispatch.Implementation(reference.combine),
        "cpu": cpu.DISPATCH_BACKWARD,
        "tpu": tpu_rows.COMBINE,
    },
)
COMBINE_FORWARD = dispatch.Kernel(
    _COMBINE,
    "forward",
    specs.combine_results,
    specs.no_flops,
    {
        "reference": dispatch.Implementation(reference.combine),
        "cpu": cpu.COMBINE,
        "tpu": tpu_rows.COMBINE,
    },
)
COMBINE_BACKWARD = dispatch.Kernel(
    _COMBINE,
    "backward",
    specs.combine_backward_results,
    specs.no_flops,
    {
        "reference": dispatch.Implementation(reference.combine_backward),
        "cpu": cpu.COMBINE_BACKWARD,
        "tpu": tpu_rows.COMBINE_BACKWARD,
    },
)


def switch_dispatch(
    x: jax.Array,
    slot: jax.Array,
    *,
    num_experts: int,
    capacity: int,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Moves each token's row to its slot.

    Args:
        x: [G, N, d], float32 or bfloat16.
        slot: int32 [G, N] of a `Route`: no slot twice in a group, -1 for none.
        num_experts: E, as routed.
        capacity: C, as routed.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [G, E, C, d], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: shapes, dtypes or settings do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-capacity), by index instead of
    one-hot products.
    """
    name = dispatch.check_implementation(_DISPATCH, implementation)
    checks.floats(_DISPATCH, "x", x, "groups, tokens, width")
    checks.exactly(_DISPATCH, "slot", slot, x.shape[:2], jnp.int32)
    check.slots(_DISPATCH, num_experts, capacity)
    return _dispatch(x, slot, (num_experts, capacity), name)


def switch_combine(
    y: jax.Array,
    slot: jax.Array,
    gate: jax.Array,
    *,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Moves each slot's row to its token, times the token's gate.

    Args:
        y: [G, E, C, d], float32 or bfloat16.
        slot: int32 [G, N] of a `Route`: no slot twice in a group, -1 for none.
        gate: float32 [G, N] of a `Route`.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Returns:
        [G, N, d], of y's dtype; rows of tokens without a slot are exactly zero.

    Raises:
        ValueError: shapes or dtypes do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-capacity), by index instead of
    one-hot products.
    """
    name = dispatch.check_implementation(_COMBINE, implementation)
    checks.floats(_COMBINE, "y", y, "groups, experts, capacity, width")
    if slot.ndim != 2:
        raise ValueError(
            f"{_COMBINE}: slot: must be [groups, tokens], got shape {slot.shape}"
        )
    checks.exactly(_COMBINE, "slot", slot, (y.shape[0], slot.shape[1]), jnp.int32)
    checks.exactly(_COMBINE, "gate", gate, slot.shape, jnp.float32)
    return _combine(y, slot, gate, name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dispatch(
    x: jax.Array,
    slot: jax.Array,
    slots: tuple[int, int],
    implementation: str | tuple[str, ...],
) -> jax.Array:
    return _dispatch_forward(x, slot, slots, implementation)[0]


def _dispatch_forward(
    x: jax.Array,
    slot: jax.Array,
    slots: tuple[int, int],
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    settings = dict(zip(("num_experts", "capacity"), slots, strict=True))
    (y,) = dispatch.call(DISPATCH_FORWARD, (x, slot), settings, implementation)
    return y, slot


def _dispatch_backward(
    slots: tuple[int, int],
    implementation: str | tuple[str, ...],
    slot: jax.Array,
    y_grad: jax.Array,
) -> tuple[Any, ...]:
    gate = jnp.ones((1, slot.shape[1]), jnp.float32)
    (x_grad,) = dispatch.call(
        DISPATCH_BACKWARD, (y_grad, slot, gate), {}, implementation
    )
    return x_grad, np.zeros(slot.shape, jax.dtypes.float0)


_dispatch.defvjp(_dispatch_forward, _dispatch_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _combine(
    y: jax.Array,
    slot: jax.Array,
    gate: jax.Array,
    implementation: str | tuple[str, ...],
) -> jax.Array:
    return _combine_forward(y, slot, gate, implementation)[0]


def _combine_forward(
    y: jax.Array,
    slot: jax.Array,
    gate: jax.Array,
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, Any]:
    operands = (y, slot, gate)
    (output,) = dispatch.call(COMBINE_FORWARD, operands, {}, implementation)
    return output, operands


def _combine_backward(
    implementation: str | tuple[str, ...], residuals: Any, output_grad: jax.Array
) -> tuple[Any, ...]:
    operands = (*residuals, output_grad)
    y_grad, gate_grad = dispatch.call(COMBINE_BACKWARD, operands, {}, implementation)
    return y_grad, np.zeros(residuals[1].shape, jax.dtypes.float0), gate_grad


_combine.defvjp(_combine_forward, _combine_backward)
