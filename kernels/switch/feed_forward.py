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
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Runs each expert's feed-forward layer on its filled slots.

    ReLU is one kernel in each direction, and on TPUs no hidden rows are stored.
    Other activations, and a single expert, are two `expert_matmul`.

    The mask of dropout is drawn by `jax.random`, but inside the TPU kernels, where it
    is another one. It does not depend on how the operands are sharded.

    Shapes: G groups, E experts, C slots per expert, d and f widths.

    Args:
        x: [G, E, C, d], float32 or bfloat16.
        wi: [E, d, f], of x's dtype.
        wo: [E, f, d], of x's dtype.
        counts: int32 [G, E] of a `Route`; rows from counts[g, e] on are taken as zero.
        num_tokens: N, tokens per group, used for the declared FLOPs.
        activation: elementwise function of the hidden rows.
        dropout_rate: probability with which an element of the hidden rows is set to
            zero after the activation, in [0, 1); others are scaled by 1 / (1 - rate).
        dropout_key: random key of dropout; None for no dropout.
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
    if not 0.0 <= dropout_rate < 1.0:
        raise ValueError(f"{_OP}: dropout_rate: must be in [0, 1), got {dropout_rate}")
    rate = 0.0 if dropout_key is None else float(dropout_rate)
    drawn = draws(dropout_key if rate else None, rate, (*x.shape[:3], wi.shape[2]))
    if activation is jax.nn.relu and num_experts > 1:
        operands = {"x": x, "wi": wi[None], "wo": wo[None], "counts": counts, **drawn}
        settings = {
            "num_tokens": num_tokens,
            # Of all experts: a device may have a shard of them, and so of the tokens.
            "num_experts": num_experts,
            "groups": 1,
            "dropout_rate": rate,
        }
        (y,) = _feed_forward(operands, settings, name)
        return y
    matmul = functools.partial(
        experts.expert_matmul,
        counts=counts,
        num_tokens=num_tokens,
        implementation=implementation,
    )
    hidden = activation(matmul(x, wi, hidden="output"))
    hidden = reference.dropped(hidden, drawn["keep"], rate)
    return matmul(hidden, wo, hidden="input")


def draws(
    key: jax.Array | None, rate: float, shape: tuple[int, ...]
) -> dict[str, jax.Array]:
    """Returns what dropout draws, of which a compiled program computes what it uses.

    Args:
        key: a random key; None for empty arrays.
        rate: the probability of dropping an element.
        shape: that of the hidden rows, [G, E, C, f].

    Returns:
        The operands `keep`, `seeds` and `column_keys` of the kernels.
    """
    if key is None:
        return {
            "keep": jnp.zeros((shape[0], 0, 0, 0), jnp.bool_),
            "seeds": jnp.zeros((shape[0], 0), jnp.int32),
            "column_keys": jnp.zeros((1, 0), jnp.int32),
        }

    def integers(number: int, *shape: int) -> jax.Array:
        bits = jax.random.bits(jax.random.fold_in(key, number), shape, jnp.uint32)
        return jax.lax.bitcast_convert_type(bits, jnp.int32)

    return {
        "keep": jax.random.bernoulli(key, 1.0 - rate, shape),
        "seeds": integers(0, *shape[:2]),
        "column_keys": integers(1, 1, shape[3]),
    }
