"""The Mixture of Softmaxes in plain jnp.

Positions are processed in chunks, which are recomputed in the backward pass, so that
`chunk_tokens` K V numbers are held instead of B T K V. Operands and settings are those
of `specs.py`.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp


def forward(
    h: jax.Array,  # [B, T, d]
    mixture: jax.Array,  # [1 or B, K, d]
    context: jax.Array,  # [1 or B, K, d, d]
    table: jax.Array,  # [1 or B, V, d]
    *,
    chunk_tokens: int,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns log-probabilities [B, T, V], and instead of the normalizers NaN.

    The gradients recompute the normalizers: gradients of another implementation would
    show that NaN was used.
    """
    run = functools.partial(log_probabilities, chunk_tokens=chunk_tokens)
    parts = _by_group(h, groups), *(_of_groups(x, groups) for x in (mixture, context))
    output = _each(run, groups)(*parts, _of_groups(table, groups))
    normalizer = jnp.full((*h.shape[:2], mixture.shape[1]), jnp.nan, jnp.float32)
    return output.reshape(*h.shape[:2], -1), normalizer


def backward(
    h: jax.Array,  # [B, T, d]
    mixture: jax.Array,  # [1 or B, K, d]
    context: jax.Array,  # [1 or B, K, d, d]
    table: jax.Array,  # [1 or B, V, d]
    output: jax.Array,  # [B, T, V]
    normalizer: jax.Array,  # [B, T, K]
    output_grad: jax.Array,  # [B, T, V]
    *,
    chunk_tokens: int,
    groups: int,
) -> tuple[jax.Array, ...]:
    """Returns the gradients of h, and of the others by group."""
    del output, normalizer  # Recomputed by chunk.

    def gradients(
        output_grad: jax.Array, *operands: jax.Array
    ) -> tuple[jax.Array, ...]:
        run = functools.partial(log_probabilities, chunk_tokens=chunk_tokens)
        _, pull = jax.vjp(run, *operands)
        return pull(output_grad)

    parts = [_of_groups(x, groups) for x in (mixture, context, table)]
    h_grad, *others = _each(gradients, groups)(
        _by_group(output_grad, groups), _by_group(h, groups), *parts
    )
    return h_grad.reshape(h.shape), *(
        x.reshape(groups, *part.shape[1:])
        for x, part in zip(others, (mixture, context, table), strict=True)
    )


def _each(run: Callable[..., object], groups: int) -> Callable[..., object]:
    return run if groups == 1 else jax.vmap(run)


def _by_group(x: jax.Array, groups: int) -> jax.Array:
    """Returns [B, ...] as [groups, B / groups, ...], or x if there is one group."""
    return x if groups == 1 else x.reshape(groups, -1, *x.shape[1:])


def _of_groups(x: jax.Array, groups: int) -> jax.Array:
    """Returns the part [1 or B, ...] of each group, or that of the single group."""
    if groups == 1:
        return x[0]
    if x.shape[0] > 1:
        return x[:: x.shape[0] // groups]
    return jnp.broadcast_to(x, (groups, *x.shape[1:]))


def log_probabilities(
    h: jax.Array,
    mixture: jax.Array,
    context: jax.Array,
    table: jax.Array,
    *,
    chunk_tokens: int,
) -> jax.Array:
    """Returns the log-probabilities of the mixture, float32 [B, T, V].

    Args:
        h: [B, T, d].
        mixture: float32 [K, d].
        context: float32 [K, d, d].
        table: float32 [V, d].
        chunk_tokens: maximum number of tokens to process at once, rounded to whole
            positions of all B rows, of which there is at least one.
    """
    batch, length, d_model = h.shape
    h = scaled(h)

    @jax.checkpoint
    def chunk(h: jax.Array) -> jax.Array:
        prior, contexts = components(h, mixture, context)
        z = jax.nn.log_softmax(_product("btke,ve->btkv", contexts, table))
        return jax.nn.logsumexp(prior[..., None] + z, axis=2)

    # Chunks span all rows, so that each row stays on its device.
    size = min(length, max(1, chunk_tokens // batch))
    whole = length - length % size
    parts = h[:, :whole].reshape(batch, -1, size, d_model).swapaxes(0, 1)
    logits = jax.lax.map(chunk, parts)
    logits = logits.swapaxes(0, 1).reshape(batch, whole, -1)
    if whole < length:
        logits = jnp.concatenate([logits, chunk(h[:, whole:])], axis=1)
    return logits


def scaled(h: jax.Array) -> jax.Array:
    """Returns h d^(-1/2) in float32."""
    return h.astype(jnp.float32) * h.shape[-1] ** -0.5


def components(
    h: jax.Array, mixture: jax.Array, context: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the components' log-probabilities [B, T, K] and contexts [B, T, K, d].

    Args:
        h: float32 [B, T, d], scaled.
        mixture: float32 [K, d].
        context: float32 [K, d, d].
    """
    prior = jax.nn.log_softmax(_product("btd,kd->btk", h, mixture))
    return prior, jnp.tanh(_product("btd,kde->btke", h, context))


def _product(equation: str, *args: jax.Array) -> jax.Array:
    """Multiplies float32 arrays without rounding them to one bfloat16 number.

    TPUs multiply bfloat16 numbers, of which float32 is a sum. HIGHEST makes six
    products of them. HIGH makes three, hi hi' + hi lo' + lo hi' with hi = bf16(x) and
    lo = bf16(x - hi), and so lacks at most 3 2^-16 |x| |x'|. On GPUs, HIGH would be
    tensor-float-32, which is coarser.
    """

    def at(precision: jax.lax.Precision) -> Callable[..., jax.Array]:
        return functools.partial(jnp.einsum, equation, precision=precision)

    precision = jax.lax.Precision
    return jax.lax.platform_dependent(
        *args, tpu=at(precision.HIGH), default=at(precision.HIGHEST)
    )
