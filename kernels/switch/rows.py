"""`switch_dispatch` and `switch_combine`: move rows from tokens to slots and back."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels.switch import check
from clinometer.kernels.switch import cpu
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.switch import tpu_rows

_DISPATCH, _COMBINE = "switch_dispatch", "switch_combine"

# Each is the adjoint of the other: dispatch's gradient is combine with gates of 1.
DISPATCH_FORWARD = declaration.Kernel(
    _DISPATCH,
    "forward",
    specs.DISPATCH_FORWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.dispatch),
        "cpu": cpu.DISPATCH,
        "tpu": tpu_rows.DISPATCH,
    },
)
DISPATCH_BACKWARD = declaration.Kernel(
    _DISPATCH,
    "backward",
    specs.DISPATCH_BACKWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.dispatch_backward),
        "cpu": cpu.DISPATCH_BACKWARD,
        "tpu": tpu_rows.LEFT_TO_XLA,
    },
)
COMBINE_FORWARD = declaration.Kernel(
    _COMBINE,
    "forward",
    specs.COMBINE_FORWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.combine),
        "cpu": cpu.COMBINE,
        "tpu": tpu_rows.LEFT_TO_XLA,
    },
)
COMBINE_BACKWARD = declaration.Kernel(
    _COMBINE,
    "backward",
    specs.COMBINE_BACKWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.combine_backward),
        "cpu": cpu.COMBINE_BACKWARD,
        "tpu": tpu_rows.COMBINE_BACKWARD,
    },
)
_dispatch = gradient.Differentiable(
    DISPATCH_FORWARD,
    DISPATCH_BACKWARD,
    outputs=("y",),
    constants={"gate": lambda slot: jnp.ones((1, slot.shape[1]), jnp.float32)},
)
_combine = gradient.Differentiable(
    COMBINE_FORWARD, COMBINE_BACKWARD, outputs=("output",)
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

    Shapes: G groups, N tokens per group, E experts, C slots per expert, d width.

    Args:
        x: [G, N, d], float32 or bfloat16.
        slot: int32 [G, N] of a `Route`: unique within a group, or -1 for no slot.
        num_experts: E, as in routing.
        capacity: C, as in routing.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [G, E, C, d], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-capacity), by index instead of
    one-hot products.
    """
    name = dispatch.check_implementation(_DISPATCH, implementation)
    checks.floats(_DISPATCH, "x", x, "groups, tokens, width")
    checks.exactly(_DISPATCH, "slot", slot, x.shape[:2], jnp.int32)
    check.slots(_DISPATCH, num_experts, capacity)
    settings = {"num_experts": num_experts, "capacity": capacity}
    (y,) = _dispatch({"x": x, "slot": slot}, settings, name)
    return y


def switch_combine(
    y: jax.Array,
    slot: jax.Array,
    gate: jax.Array,
    *,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Moves each slot's row to its token, and multiplies it by the token's gate.

    Shapes: G groups, N tokens per group, E experts, C slots per expert, d width.

    Args:
        y: [G, E, C, d], float32 or bfloat16.
        slot: int32 [G, N] of a `Route`: unique within a group, or -1 for no slot.
        gate: float32 [G, N] of a `Route`.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [G, N, d], of y's dtype; rows of tokens without a slot are exactly zero.

    Raises:
        ValueError: if shapes or dtypes do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

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
    (output,) = _combine({"y": y, "slot": slot, "gate": gate}, {}, name)
    return output
