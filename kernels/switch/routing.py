"""`switch_route`: each token to the one expert that its router likes best."""

from collections.abc import Sequence
import math
from typing import NamedTuple

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
from clinometer.kernels.switch import tpu

_OP = "switch_route"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.ROUTE_FORWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.route_forward),
        "cpu": cpu.ROUTE_FORWARD,
        "tpu": tpu.ROUTE_FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.ROUTE_BACKWARD,
    specs.no_flops,
    {
        "reference": declaration.Implementation(reference.route_backward),
        "cpu": cpu.ROUTE_BACKWARD,
        "tpu": tpu.ROUTE_BACKWARD,
    },
)


class Route(NamedTuple):
    """Where tokens go, and what the auxiliary losses need.

    Shapes: G groups, N tokens a group, E experts.

    Attributes:
        expert_index: int32 [G, N], the most probable expert; ties go to the lowest.
        slot: int32 [G, N], expert_index * capacity + position among the expert's slots,
            or -1 for a token that is dropped or padding.
        gate: float32 [G, N], the expert's probability, of dropped tokens too; 0 for
            padding. Has a gradient.
        counts: int32 [G, E], filled slots.
        load: float32 [G, E], fraction of the tokens that chose it, before dropping.
        probability: float32 [G, E], mean over the tokens. Has a gradient.
        z: float32 [G], mean over the tokens of the squared log-sum-exp of the logits.
            Has a gradient.
    """

    expert_index: jax.Array
    slot: jax.Array
    gate: jax.Array
    counts: jax.Array
    load: jax.Array
    probability: jax.Array
    z: jax.Array


_route = gradient.Differentiable(FORWARD, BACKWARD, outputs=Route._fields)


def switch_route(
    logits: jax.Array,
    *,
    capacity: int,
    mask: jax.Array | None = None,
    implementation: str | Sequence[str] = "auto",
) -> Route:
    """Routes each token to its most probable expert, in one pass over the logits.

    An expert takes the first `capacity` tokens of a group that choose it, in token
    order; the others are dropped. The softmax is float32.

    Args:
        logits: [G, N, E], float32 or bfloat16.
        capacity: slots of each expert in each group, see `expert_capacity`.
        mask: bool [G, N], False for padding, which is not routed nor counted in means;
            means over no token are 0.
        implementation: "auto", "reference", "cpu", "tpu", or some to try in order.

    Raises:
        ValueError: shapes, dtypes or settings do not fit; says which.
        dispatch.NotSupportedError: when lowered, no implementation asked for can run.

    Source: Fedus et al. 2021, with Mesh TensorFlow's groups
    (ARCHITECTURES.md#switch-routing).
    """
    name = dispatch.check_implementation(_OP, implementation)
    checks.floats(_OP, "logits", logits, "groups, tokens, experts")
    groups, num_tokens, num_experts = logits.shape
    check.slots(_OP, num_experts, capacity)
    if mask is None:
        mask = jnp.ones((1, num_tokens), jnp.bool_)
    else:
        checks.exactly(_OP, "mask", mask, (groups, num_tokens), jnp.bool_)
    operands = {"logits": logits, "mask": mask}
    return Route(*_route(operands, {"capacity": capacity}, name))


def expert_capacity(
    num_tokens: int, num_experts: int, capacity_factor: float, min_capacity: int = 4
) -> int:
    """Returns the slots of each expert in a group (ARCHITECTURES.md#switch-capacity).

    Args:
        num_tokens: tokens a group.
        num_experts: among which they are divided.
        capacity_factor: slots for each token if all experts were liked equally.
        min_capacity: the least, even where there are fewer tokens.
    """
    if num_tokens < 1 or num_experts < 1 or min_capacity < 1 or capacity_factor <= 0:
        raise ValueError(
            f"expert_capacity: all must be positive; got num_tokens={num_tokens}, "
            f"num_experts={num_experts}, capacity_factor={capacity_factor}, "
            f"min_capacity={min_capacity}"
        )
    share = math.floor(num_tokens * capacity_factor / num_experts)
    return max(min_capacity, min(num_tokens, share))


def load_balance_loss(load: jax.Array, probability: jax.Array) -> jax.Array:
    """Returns E * sum_e load_e * probability_e, averaged over groups.

    1 where all experts get the same; callers weigh it, by 0.01 in the paper.

    Args:
        load: [G, E], of a `Route`; has no gradient.
        probability: [G, E], of a `Route`.
    """
    return load.shape[-1] * jnp.mean(jnp.sum(load * probability, axis=-1))
