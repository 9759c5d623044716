"""Dispatch and combine on TPUs: XLA's gathers, with indices computed by matmuls.

XLA gathers rows at about six cycles each. In the reference, a scatter of integers (the
token of each slot) takes as long again. A product of two one-hot matrices, one of tiles
of slots and one of positions within a tile, gives the same at a tenth of the cost.
"""

from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.switch import reference
from clinometer.kernels.switch import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_DIGIT = 256  # Integers up to this are exact in bfloat16.
_MOST_TOKENS = 1 << 15


def _dispatch(
    x: jax.Array, slot: jax.Array, *, num_experts: int, capacity: int
) -> tuple[jax.Array]:
    """Returns the rows by slot; see `reference.dispatch`."""
    return (_rows_by_slot(x, slot, num_experts, capacity),)


def _combine_backward(
    y: jax.Array, slot: jax.Array, gate: jax.Array, output_grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of y and gate; see `reference.combine_backward`."""
    gate_grad, scaled = reference.combine_gradients(y, slot, gate, output_grad)
    return _rows_by_slot(scaled, slot, *y.shape[1:3]), gate_grad


def _rows_by_slot(
    x: jax.Array, slot: jax.Array, num_experts: int, capacity: int
) -> jax.Array:
    token = _token_of(slot, num_experts * capacity)
    rows = jnp.take_along_axis(x, jnp.maximum(token, 0)[..., None], axis=1)
    rows = jnp.where((token >= 0)[..., None], rows, 0)
    return rows.reshape(-1, num_experts, capacity, x.shape[-1])


def _token_of(slot: jax.Array, num_slots: int) -> jax.Array:
    """Returns the token of each slot, [G, S]; -1 where it is empty."""
    groups, num_tokens = slot.shape
    tile = lanes.LANES
    num_tiles = -(-num_slots // tile)
    slot = jnp.where(slot < num_slots, slot, -1)
    # A negative slot belongs to tile -1, which does not exist.
    of_tile = _one_hot(slot >> tile.bit_length() - 1, num_tiles)
    number = jnp.arange(1, num_tokens + 1, dtype=jnp.int32)[None, None]  # 0: no token
    factors = [_DIGIT**i for i in range(3) if _DIGIT**i <= num_tokens]
    digits = [jnp.where(of_tile, number // n % _DIGIT, 0) for n in factors]
    found = jnp.einsum(
        "gktn,gpn->gktp",
        jnp.stack(digits, axis=1).astype(jnp.bfloat16),
        _one_hot(slot & tile - 1, tile).astype(jnp.bfloat16),
        preferred_element_type=jnp.float32,
    )
    weights = jnp.asarray(factors, jnp.int32)[None, :, None, None]
    token = jnp.sum(found.astype(jnp.int32) * weights, axis=1) - 1
    return token.reshape(groups, -1)[:, :num_slots]


def _one_hot(x: jax.Array, size: int) -> jax.Array:
    """Returns bool [G, size, N]."""
    return x[:, None] == jnp.arange(size, dtype=jnp.int32)[None, :, None]


def _avoid(chip: chips.Chip, slot: Any, **_: Any) -> str | None:
    del chip
    if slot.shape[1] > _MOST_TOKENS:
        return (
            f"for {slot.shape[1]} tokens, computing indices by matmuls needs too much "
            f"memory; it is faster than XLA's scatter up to {_MOST_TOKENS} per group"
        )
    return None


# No FLOPs, as declared: the products with 0 and 1 only compute indices.
DISPATCH = wrap.implementation(_dispatch, specs.no_flops, avoid=_avoid)
COMBINE_BACKWARD = wrap.implementation(_combine_backward, specs.no_flops, avoid=_avoid)
LEFT_TO_XLA = wrap.left_to_xla(
    "XLA's own gather moves rows as fast as any kernel found"
)
