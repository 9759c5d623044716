"""The Pallas Mixture of Softmaxes: when it runs, what XLA does around it, and FLOPs.

XLA computes the mixture's weights and the contexts, and their gradients, in float32 as
in the reference. The kernels' products are of bfloat16 numbers, as those of other
output layers are where models compute in bfloat16.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.mixture_of_softmaxes import blocks
from clinometer.kernels.mixture_of_softmaxes import reference
from clinometer.kernels.mixture_of_softmaxes import specs
from clinometer.kernels.mixture_of_softmaxes import tpu_backward
from clinometer.kernels.mixture_of_softmaxes import tpu_forward
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import wrap


def forward(
    h: jax.Array,
    mixture: jax.Array,
    context: jax.Array,
    table: jax.Array,
    *,
    chunk_tokens: int,
    groups: int,
) -> tuple[jax.Array, ...]:
    """See `reference.forward`; the second result is the normalizers."""
    del chunk_tokens  # The kernels choose their own.
    made = []
    for (part,), parameters in _parts(groups, (h,), (mixture, context, table)):
        s = _shapes(part, *parameters)
        prior, contexts = _components(_rows(part, s.padded_tokens), *parameters[:2])
        output, normalizer = tpu_forward.forward(
            s,
            _by_component(s, contexts).astype(jnp.bfloat16),
            _by_component(s, prior[..., None]),
            _table(s, parameters[2]),
        )
        normalizer = _by_token(s, normalizer, 1)[: s.num_tokens, :, 0]
        made.append((_from_rows(output, part), _from_rows(normalizer, part)))
    return _together(made)


def backward(
    h: jax.Array,
    mixture: jax.Array,
    context: jax.Array,
    table: jax.Array,
    output: jax.Array,
    normalizer: jax.Array,
    output_grad: jax.Array,
    *,
    chunk_tokens: int,
    groups: int,
) -> tuple[jax.Array, ...]:
    """See `reference.backward`."""
    del chunk_tokens
    made = []
    by_batch = h, output, normalizer, output_grad
    for arrays, parameters in _parts(groups, by_batch, (mixture, context, table)):
        part, output, normalizer, output_grad = arrays
        s = _shapes(part, *parameters)
        (prior, contexts), pull = jax.vjp(
            _components, _rows(part, s.padded_tokens), *parameters[:2]
        )
        normalizer = _rows(normalizer, s.padded_tokens)
        contexts_grad, prior_grad, table_grad = tpu_backward.backward(
            s,
            _by_component(s, contexts).astype(jnp.bfloat16),
            _by_component(s, prior[..., None]),
            _by_component(s, normalizer[..., None]),
            _table(s, parameters[2]),
            _rows(output, s.num_tokens),
            _rows(output_grad, s.num_tokens),
        )
        prior_grad = _by_token(s, prior_grad, 1)[..., 0]
        h_grad, *others = pull(
            (prior_grad, _by_token(s, contexts_grad, contexts.shape[2]))
        )
        others.append(table_grad[:, : h.shape[2]])
        h_grad = _from_rows(h_grad[: s.num_tokens], part)
        made.append((h_grad, *(x[None] for x in others)))
    return _together(made)


def _parts(
    groups: int, arrays: Sequence[jax.Array], parameters: Sequence[jax.Array]
) -> Iterator[tuple[Sequence[jax.Array], Sequence[jax.Array]]]:
    """Yields each group's part of the batch, and its parameters."""
    size = arrays[0].shape[0] // groups
    for i in range(groups):
        yield (
            [x[i * size : (i + 1) * size] for x in arrays],
            [x[i * size if x.shape[0] > 1 else 0] for x in parameters],
        )


def _together(parts: Sequence[tuple[jax.Array, ...]]) -> tuple[jax.Array, ...]:
    return tuple(jnp.concatenate(x) for x in zip(*parts, strict=True))


def _shapes(
    h: jax.Array, mixture: jax.Array, context: jax.Array, table: jax.Array
) -> blocks.Shapes:
    del context
    tokens = h.shape[0] * h.shape[1]
    return blocks.choose(wrap.chip(), tokens, mixture[None], table[None])


def _components(
    h: jax.Array, mixture: jax.Array, context: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the prior [P, K] and the contexts [P, K, d] of h [P, d].

    P is the number of tokens padded to the kernel's blocks.
    """
    prior, contexts = reference.components(reference.scaled(h[None]), mixture, context)
    return prior[0], contexts[0]


def _by_component(s: blocks.Shapes, x: jax.Array) -> jax.Array:
    """Returns [P, K, _] as [n, K T, _], with a width d padded with zeros."""
    width = x.shape[2]
    x = x.reshape(s.token_blocks, s.tokens, s.components, width)
    x = jnp.swapaxes(x, 1, 2).reshape(s.token_blocks, s.rows, width)
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0 if width == 1 else s.width - width)))


def _by_token(s: blocks.Shapes, x: jax.Array, width: int) -> jax.Array:
    """Returns [n, K T, _] as [P, K, width]; the inverse of `_by_component`."""
    x = x[..., :width].reshape(s.token_blocks, s.components, s.tokens, width)
    return jnp.swapaxes(x, 1, 2).reshape(s.padded_tokens, s.components, width)


def _table(s: blocks.Shapes, table: jax.Array) -> jax.Array:
    added = max(0, s.columns - s.vocabulary), s.width - table.shape[1]
    return jnp.pad(table.astype(jnp.bfloat16), [(0, n) for n in added])


def _is_by_time(x: jax.Array) -> bool:
    """Returns whether tokens are ordered by time first: as XLA stores a length of 114.

    It pads the last axis but one to a multiple of 8, and orders axes to avoid that.
    """
    return x.shape[1] % 8 != 0 and x.shape[0] % 8 == 0


def _rows(x: jax.Array, count: int) -> jax.Array:
    """Returns [B, T, ...] as [count, ...], padded with zeros."""
    if _is_by_time(x):
        x = jnp.swapaxes(x, 0, 1)
    x = x.reshape(-1, *x.shape[2:])
    return jnp.pad(x, ((0, count - x.shape[0]), *[(0, 0)] * (x.ndim - 1)))


def _from_rows(x: jax.Array, h: jax.Array) -> jax.Array:
    """The inverse of `_rows` for h's tokens, without padding."""
    batch, length, _ = h.shape
    if _is_by_time(h):
        return jnp.swapaxes(x.reshape(length, batch, *x.shape[1:]), 0, 1)
    return x.reshape(batch, length, *x.shape[1:])


def _refuse(
    chip: chips.Chip, h: Any, mixture: Any, table: Any, groups: int, **_: Any
) -> str | None:
    if h.dtype != jnp.bfloat16:
        return (
            f"its products are of bfloat16 numbers, and h is {jnp.dtype(h.dtype).name}"
        )
    tokens = h.shape[0] * h.shape[1] // groups
    return blocks.refusal(chip, tokens, mixture, table)


def _backward_executed(**given: Any) -> int:
    # Contexts and logits are computed again.
    return specs.forward_flops(**given) + specs.backward_flops(**given)


FORWARD = wrap.implementation(forward, specs.forward_flops, _refuse)
BACKWARD = wrap.implementation(backward, _backward_executed, _refuse)
