"""`mixture_of_softmaxes`: log-probabilities of a mixture of softmaxes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from clinometer.kernels import checks
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import gradient
from clinometer.kernels import shard_context
from clinometer.kernels.mixture_of_softmaxes import reference
from clinometer.kernels.mixture_of_softmaxes import specs
from clinometer.kernels.mixture_of_softmaxes import tpu

_OP = "mixture_of_softmaxes"

FORWARD = declaration.Kernel(
    _OP,
    "forward",
    specs.FORWARD,
    specs.forward_flops,
    {
        "reference": declaration.Implementation(reference.forward),
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
        "tpu": tpu.BACKWARD,
    },
)
_mix = gradient.Differentiable(FORWARD, BACKWARD, outputs=("output",))


def mixture_of_softmaxes(
    h: jax.Array,
    mixture: jax.Array,
    context: jax.Array,
    table: jax.Array,
    *,
    chunk_tokens: int = 32,
    implementation: str | Sequence[str] = "auto",
) -> jax.Array:
    """Returns log-probabilities of a mixture of K softmaxes over a vocabulary.

    With h' = h d^(-1/2), the mixture has the weights softmax(h' mixture^T), and its
    softmax k has the logits tanh(h' context_k) table^T. Where a Pallas kernel runs,
    which is for h in bfloat16, the factors tanh(h' context_k) and table are rounded to
    bfloat16; all else is float32.

    Within `shard_over` with axes of the heads, which shard vocabularies too, XLA
    partitions the reference, whichever implementation is asked for: kernels would
    gather the table.

    Shapes: B batch, T positions, d width, K components, V vocabulary.

    Args:
        h: [B, T, d], float32 or bfloat16.
        mixture: float32 [K, d].
        context: float32 [K, d, d].
        table: float32 [V, d].
        chunk_tokens: maximum number of tokens that the reference processes at once, at
            least 1; at least one position of every row is.
        implementation: "auto", "reference", "tpu", or several to try in order.

    Returns:
        Log-probabilities, float32 [B, T, V].

    Raises:
        ValueError: if shapes, dtypes or settings do not fit; names the argument.
        dispatch.NotSupportedError: on lowering, if no requested implementation can run.

    Source: Yang et al. 2018 (ARCHITECTURES.md#mixture-of-softmaxes).
    """
    name = dispatch.check_implementation(_OP, implementation)
    checks.floats(_OP, "h", h, "batch, length, width")
    checks.floats(_OP, "mixture", mixture, "components, width")
    checks.floats(_OP, "table", table, "vocabulary, width")
    num_softmaxes, width = mixture.shape[0], h.shape[2]
    checks.exactly(_OP, "mixture", mixture, (num_softmaxes, width), jnp.float32)
    shape = (num_softmaxes, width, width)
    checks.exactly(_OP, "context", context, shape, jnp.float32)
    checks.exactly(_OP, "table", table, (table.shape[0], width), jnp.float32)
    if chunk_tokens < 1:
        raise ValueError(f"{_OP}: chunk_tokens: must be at least 1, got {chunk_tokens}")
    sharding = shard_context.here()
    if sharding is not None and sharding.heads:
        return reference.log_probabilities(
            h, mixture, context, table, chunk_tokens=chunk_tokens
        )
    operands = {
        "h": h,
        "mixture": mixture[None],
        "context": context[None],
        "table": table[None],
    }
    (output,) = _mix(operands, {"chunk_tokens": chunk_tokens, "groups": 1}, name)
    return output
