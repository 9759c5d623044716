"""`expert_matmul`: multiplies each expert's filled slots by the expert's matrix."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels.switch import cpu
from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.tpu import wrap as tpu_wrap

_OP = "expert_matmul"
# Simulated on v5e for 32 experts of 160 slots, 512 by 2048: 94k cycles, of which the
# products of all slots need 82k.
_LEFT_TO_XLA = tpu_wrap.left_to_xla(
    "XLA's own batched matmul keeps the matrix units 90% busy"
)


def _kernels(hidden: str | None) -> tuple[declaration.Kernel, declaration.Kernel]:
    """Returns both passes, given the name of the hidden width in `specs`, or None."""
    forward, backward = specs.expert_matmul(hidden)
    return (
        declaration.Kernel(
            _OP,
            "forward",
            forward,
            specs.expert_matmul_forward_flops,
            {
                "reference": declaration.Implementation(
                    reference.expert_matmul_forward
                ),
                "cpu": cpu.EXPERT_MATMUL_FORWARD,
                "tpu": _LEFT_TO_XLA,
            },
        ),
        declaration.Kernel(
            _OP,
            "backward",
            backward,
            specs.expert_matmul_backward_flops,
            {
                "reference": declaration.Implementation(
                    reference.expert_matmul_backward
                ),
                "cpu": cpu.EXPERT_MATMUL_BACKWARD,
                "tpu": _LEFT_TO_XLA,
            },
        ),
    )


FORWARD, BACKWARD = _kernels(None)
_matmul = {
    hidden: gradient.Differentiable(*kernels, outputs=("y",))
    for hidden, kernels in (
        (None, (FORWARD, BACKWARD)),
        ("input", _kernels("d")),
        ("output", _kernels("f")),
    )
}


def expert_matmul(
    x: jax.Array,
    w: jax.Array,
    counts: jax.Array,
    *,
    num_tokens: int,
    hidden: str | None = None,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Multiplies each expert's filled slots by the expert's matrix.

    With a single expert, every implementation uses `jnp.dot`, so that the result is
    bitwise equal to that of a dense layer.

    Shapes: G groups, E experts, C slots per expert, d and f widths.

    Args:
        x: [G, E, C, d], float32 or bfloat16.
        w: [E, d, f], of x's dtype.
        counts: int32 [G, E] of a `Route`; rows from counts[g, e] on are taken as zero.
        num_tokens: N, tokens per group, used for the declared FLOPs.
        hidden: the width that is the hidden one of a feed-forward layer, "input" or
            "output"; the axes of `shard_over` that shard heads shard it too. None for
            neither.
        implementation: "auto", "reference", "cpu", "tpu", or several to try in order.

    Returns:
        [G, E, C, f], of x's dtype; rows of empty slots are zero.

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

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
    if hidden not in _matmul:
        raise ValueError(
            f"{_OP}: hidden: must be 'input', 'output' or None, got {hidden!r}"
        )
    if num_experts == 1:
        filled = (jnp.arange(capacity, dtype=jnp.int32)[None] < counts)[..., None]
        rows = jnp.where(filled, x[:, 0], 0)
        return jnp.where(filled, jnp.dot(rows, w[0]), 0)[:, None]
    operands = {"x": x, "w": w[None], "counts": counts}
    # Of all experts: a device may have a shard of them, and so of the tokens.
    settings = {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1}
    (y,) = _matmul[hidden](operands, settings, name)
    return y
