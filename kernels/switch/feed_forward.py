"""`expert_feed_forward`: up, activation and down of each expert's filled slots."""

from collections.abc import Callable
from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels.switch import cpu
from clinometer.kernels.switch import experts
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.switch import tpu_experts

_OP = "expert_feed_forward"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.FEED_FORWARD_FORWARD,
    specs.feed_forward_forward_flops,
    {
        "reference": declaration.Implementation(reference.feed_forward_forward),
        "cpu": cpu.FEED_FORWARD_FORWARD,
        "tpu": tpu_experts.FORWARD,
    },
)
BACKWARD = declaration.Kernel(
    _OP,
    "backward",
    specs.FEED_FORWARD_BACKWARD,
    specs.feed_forward_backward_flops,
    {
        "reference": declaration.Implementation(reference.feed_forward_backward),
        "cpu": cpu.FEED_FORWARD_BACKWARD,
        "tpu": tpu_experts.BACKWARD,
    },
)
_feed_forward = gradient.Differentiable(FORWARD, BACKWARD, outputs=("y",))


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

    ReLU without dropout is one kernel in each direction, and on TPUs no hidden rows
    are stored. Otherwise, and with a single expert, it is two `expert_matmul`.

    Shapes: G groups, E experts, C slots per expert, d and f widths.

    Args:
        x: [G, E, C, d], float32 or bfloat16.
        wi: [E, d, f], of x's dtype.
        wo: [E, f, d], of x's dtype.
        counts: int32 [G, E] of a `Route`; rows from counts[g, e] on are taken as zero.
        num_tokens: N, tokens per group, used for the declared FLOPs.
        activation: elementwise function of the hidden rows.
        hidden_dropout: dropout applied to the hidden rows [G, E, C, f] after the
            activation; None for no dropout.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [G, E, C, d], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Fedus et al. 2021 (ARCHITECTURES.md#switch-routing).
    """
    name = dispatch.check_implementation(_OP, implementation)
    checks.floats(_OP, "x", x, "groups, experts, capacity, width")
    checks.floats(_OP, "wi", wi, "experts, width, hidden width")
    groups, num_experts, _, width = x.shape
    checks.exactly(_OP, "wi", wi, (num_experts, width, wi.shape[2]), x.dtype)
    checks.exactly(_OP, "wo", wo, (num_experts, wi.shape[2], width), x.dtype)
    checks.exactly(_OP, "counts", counts, (groups, num_experts), jnp.int32)
    if num_tokens < 1:
        raise ValueError(f"{_OP}: num_tokens: must be at least 1, got {num_tokens}")
    if activation is jax.nn.relu and hidden_dropout is None and num_experts > 1:
        operands = {"x": x, "wi": wi[None], "wo": wo[None], "counts": counts}
        # Of all experts: a device may have a shard of them, and so of the tokens.
        settings = {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1}
        (y,) = _feed_forward(operands, settings, name)
        return y
    matmul = functools.partial(
        experts.expert_matmul,
        counts=counts,
        num_tokens=num_tokens,
        implementation=implementation,
    )
    hidden = activation(matmul(x, wi, hidden="output"))
    if hidden_dropout is not None:
        hidden = hidden_dropout(hidden)
    return matmul(hidden, wo, hidden="input")
