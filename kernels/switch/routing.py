"""`switch_route`: top-1 routing of tokens to experts."""

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
    """The routes of tokens, and the statistics for the auxiliary losses.

    Shapes: G groups, N tokens per group, E experts.

    Attributes:
        expert_index: int32 [G, N], the most probable expert; ties go to the lowest
            index.
        slot: int32 [G, N], expert_index * capacity + position within the expert, or -1
            for a token that is dropped or padding.
        gate: float32 [G, N], the probability of the chosen expert, also for dropped
            tokens; 0 for padding. Differentiable.
        counts: int32 [G, E], the number of filled slots.
        load: float32 [G, E], the fraction of tokens that chose the expert, before
            dropping.
        probability: float32 [G, E], the mean probability over the tokens.
            Differentiable.
        z: float32 [G], the mean over the tokens of the squared log-sum-exp of the
            logits. Differentiable.
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

    An expert accepts the first `capacity` tokens of a group that choose it, in token
    order; the others are dropped. The softmax is computed in float32.

    Shapes: G groups, N tokens per group, E experts.

    Args:
        logits: [G, N, E], float32 or bfloat16.
        capacity: slots of each expert in each group; see `expert_capacity`.
        mask: bool [G, N], False for padding, which is neither routed nor counted in
            means; a mean over no tokens is 0.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        The routes; see `Route`.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

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
    """Returns the number of slots per expert (ARCHITECTURES.md#switch-capacity).

    Args:
        num_tokens: tokens per group.
        num_experts: the number of experts.
        capacity_factor: slots relative to a uniform distribution of the tokens.
        min_capacity: the minimum, even if there are fewer tokens.

    Raises:
        ValueError: if an argument is not positive.
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

    It is 1 for a uniform load. The caller scales it, in the paper by 0.01.

    Args:
        load: [G, E] of a `Route`; has no gradient.
        probability: [G, E] of a `Route`.
    """
    return load.shape[-1] * jnp.mean(jnp.sum(load * probability, axis=-1))
