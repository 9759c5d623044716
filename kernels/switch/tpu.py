"""`switch_route` as Pallas TPU kernels: one pass over the logits, and one back.

Tokens lie in lanes and experts in sublanes, [E, N]: that is how XLA itself stores
logits of few experts, all reductions over experts are within registers' sublanes, and
what is kept of a token is a dense row. Dispatch, combine and the experts' products are
XLA's.
"""

import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.switch import blocks
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_TILE = lanes.LANES  # tokens at a time
_MOST_TOKENS = 1 << 24  # places in a group are counted in float32


def _route_forward(
    logits: jax.Array, mask: jax.Array, *, capacity: int
) -> tuple[jax.Array, ...]:
    """Returns the fields of a `Route`; see `reference.route_forward`."""
    groups, num_tokens, num_experts = logits.shape
    sizes = blocks.choose(wrap.chip(), num_tokens, num_experts)
    x = _experts_by_tokens(logits, sizes.tokens)
    experts, padded = x.shape[1:]
    grid = (groups, padded // sizes.tokens)
    row = pl.BlockSpec((1, 1, sizes.tokens), lambda g, i: (g, 0, i))
    whole = pl.BlockSpec((1, 1, experts), lambda g, i: (g, 0, 0))
    one = pl.BlockSpec((1, 1, 1), lambda g, i: (g, 0, 0))
    call = wrap.call(
        functools.partial(_forward_kernel, capacity=capacity),
        "switch_route_forward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=grid,
        in_specs=[
            pl.BlockSpec((1, experts, sizes.tokens), lambda g, i: (g, 0, i)),
            _mask_spec(mask, sizes.tokens),
        ],
        out_specs=[row, row, row, whole, whole, whole, one],
        out_shape=[
            jax.ShapeDtypeStruct((groups, 1, padded), jnp.int32),
            jax.ShapeDtypeStruct((groups, 1, padded), jnp.int32),
            jax.ShapeDtypeStruct((groups, 1, padded), jnp.float32),
            jax.ShapeDtypeStruct((groups, 1, experts), jnp.int32),
            jax.ShapeDtypeStruct((groups, 1, experts), jnp.float32),
            jax.ShapeDtypeStruct((groups, 1, experts), jnp.float32),
            jax.ShapeDtypeStruct((groups, 1, 1), jnp.float32),
        ],
        scratch_shapes=[
            pltpu.VMEM((experts, _TILE), jnp.float32),
            pltpu.VMEM((experts, _TILE), jnp.float32),
            pltpu.VMEM((1, _TILE), jnp.float32),
        ],
    )
    *rows, counts, load, probability, z = call(x, _row(mask, padded, jnp.int32))
    return (
        *(y[:, 0, :num_tokens] for y in rows),
        *(y[:, 0, :num_experts] for y in (counts, load, probability)),
        z[:, 0, 0],
    )


def _forward_kernel(
    logits_ref: Any,  # [1, E, N of a block]
    mask_ref: Any,  # [1, 1, N of a block]
    expert_ref: Any,
    slot_ref: Any,
    gate_ref: Any,
    counts_ref: Any,  # [1, 1, E]
    load_ref: Any,
    probability_ref: Any,
    z_ref: Any,  # [1, 1, 1]
    before_ref: Any,  # [E, _TILE] tokens of each expert in earlier tiles, in every lane
    p_ref: Any,  # [E, _TILE] sums of probabilities by lane
    z_sum_ref: Any,  # [1, _TILE]
    *,
    capacity: int,
) -> None:
    experts, num_tokens = logits_ref.shape[1:]

    @pl.when(pl.program_id(1) == 0)
    def _() -> None:
        for ref in (before_ref, p_ref, z_sum_ref):
            ref[...] = jnp.zeros(ref.shape, ref.dtype)

    expert = _expert_index(experts).astype(jnp.float32)
    # A product with this counts, for each token, those up to it; and in the other
    # lanes all of the tile.
    counting = jax.lax.broadcasted_iota(jnp.int32, (_TILE, 2 * _TILE), 0)
    counting = counting <= jax.lax.broadcasted_iota(jnp.int32, counting.shape, 1)
    counting = counting.astype(jnp.bfloat16)
    before, p_sum, z_sum = before_ref[...], p_ref[...], z_sum_ref[...]
    for start in range(0, num_tokens, _TILE):
        here = pl.ds(start, _TILE)
        x = logits_ref[0, :, here].astype(jnp.float32)
        valid = mask_ref[0, :, here] > 0
        most, key = _most(x)
        first = jnp.min(jnp.where(key == most, expert, experts), axis=0, keepdims=True)
        weights = jnp.exp(x - most)
        total = jnp.sum(weights, axis=0, keepdims=True)
        gate = jnp.where(valid, 1.0 / total, 0.0)
        p_sum += jnp.where(valid, weights * gate, 0.0)
        z_sum += jnp.square(jnp.where(valid, most + jnp.log(total), 0.0))
        chosen = (expert == first) & valid
        counted = jnp.dot(
            jnp.where(chosen, 1.0, 0.0).astype(jnp.bfloat16),
            counting,
            preferred_element_type=jnp.float32,
        )
        place = jnp.where(chosen, counted[:, :_TILE] + before, 0.0)
        place = jnp.sum(place, axis=0, keepdims=True).astype(jnp.int32) - 1
        before += counted[:, _TILE:]
        index = first.astype(jnp.int32)
        expert_ref[0, :, here] = index
        slot_ref[0, :, here] = jnp.where(
            valid & (place < capacity), index * capacity + place, -1
        )
        gate_ref[0, :, here] = gate
    before_ref[...], p_ref[...], z_sum_ref[...] = before, p_sum, z_sum

    @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
    def _() -> None:
        tokens_of = jnp.transpose(before_ref[...])[:1]
        share = 1.0 / jnp.maximum(jnp.sum(tokens_of, axis=1, keepdims=True), 1.0)
        counts_ref[0] = jnp.minimum(tokens_of, capacity).astype(jnp.int32)
        load_ref[0] = tokens_of * share
        p = jnp.sum(jnp.transpose(p_ref[...]), axis=0, keepdims=True)
        probability_ref[0] = p * share
        z_ref[0] = jnp.sum(z_sum_ref[...], axis=1, keepdims=True) * share


def _route_backward(
    logits: jax.Array,
    mask: jax.Array,
    expert_index: jax.Array,
    gate: jax.Array,
    gate_grad: jax.Array,
    probability_grad: jax.Array,
    z_grad: jax.Array,
) -> tuple[jax.Array]:
    """Returns the gradient of the logits; see `reference.route_backward`."""
    groups, num_tokens, num_experts = logits.shape
    sizes = blocks.choose(wrap.chip(), num_tokens, num_experts)
    x = _experts_by_tokens(logits, sizes.tokens)
    experts, padded = x.shape[1:]
    p_grad = jnp.pad(probability_grad, ((0, 0), (0, experts - num_experts)))
    block = pl.BlockSpec((1, experts, sizes.tokens), lambda g, i: (g, 0, i))
    row = pl.BlockSpec((1, 1, sizes.tokens), lambda g, i: (g, 0, i))
    call = wrap.call(
        _backward_kernel,
        "switch_route_backward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=(groups, padded // sizes.tokens),
        in_specs=[
            block,
            _mask_spec(mask, padded, blocks_of=False),
            *(row, row, row),
            pl.BlockSpec((1, 1, experts), lambda g, i: (g, 0, 0)),
            pl.BlockSpec((1, 1, 1), lambda g, i: (g, 0, 0)),
        ],
        out_specs=block,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
    )
    grad = call(
        x,
        _row(mask, padded, jnp.int32),
        _row(expert_index, padded),
        _row(gate, padded),
        _row(gate_grad, padded),
        p_grad[:, None],
        z_grad[:, None, None],
    )
    return (jnp.swapaxes(grad[:, :num_experts, :num_tokens], 1, 2),)


def _backward_kernel(
    logits_ref: Any,  # [1, E, N of a block]
    mask_ref: Any,  # [1, 1, N]
    expert_ref: Any,  # [1, 1, N of a block]
    gate_ref: Any,
    gate_grad_ref: Any,
    p_grad_ref: Any,  # [1, 1, E]
    z_grad_ref: Any,  # [1, 1, 1]
    grad_ref: Any,  # [1, E, N of a block]
) -> None:
    experts, num_tokens = logits_ref.shape[1:]
    expert = _expert_index(experts)
    tokens = jnp.sum(mask_ref[0].astype(jnp.float32), axis=1, keepdims=True)
    share = 1.0 / jnp.maximum(tokens, 1.0)
    p_grad = jnp.broadcast_to(p_grad_ref[0] * share, (_TILE, experts))
    p_grad = jnp.transpose(p_grad)
    z_grad = 2.0 * z_grad_ref[0] * share
    first = pl.program_id(1) * num_tokens
    for start in range(0, num_tokens, _TILE):
        here = pl.ds(start, _TILE)
        x = logits_ref[0, :, here].astype(jnp.float32)
        there = pl.ds(pl.multiple_of(first + start, _TILE), _TILE)
        valid = mask_ref[0, :, there] > 0
        gate = gate_ref[0, :, here]
        most, _ = _most(x)
        p = jnp.exp(x - most) * gate
        # The log-sum-exp again, from the gate: the gate is exp(most - log_sum_exp).
        log_sum_exp = most - jnp.log(jnp.where(valid, gate, 1.0))
        gate_part = gate_grad_ref[0, :, here] * gate
        shared = z_grad * log_sum_exp - gate_part
        shared -= jnp.sum(p * p_grad, axis=0, keepdims=True)
        grad = p * (p_grad + shared)
        grad += jnp.where(expert == expert_ref[0, :, here], gate_part, 0.0)
        grad_ref[0, :, here] = jnp.where(valid, grad, 0.0).astype(grad_ref.dtype)


def _expert_index(experts: int) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, (experts, _TILE), 0)


def _most(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the largest over the experts, and x with its NaNs as infinity.

    So a NaN is the choice of its token, as it is for `jnp.argmax`, whether the chip's
    maximum passes it on or not.
    """
    key = jnp.where(x == x, x, jnp.inf)
    return jnp.max(key, axis=0, keepdims=True), key


def _experts_by_tokens(logits: jax.Array, tokens: int) -> jax.Array:
    """Returns [G, E, N]; experts that nobody chooses and tokens to whole blocks."""
    _, num_tokens, num_experts = logits.shape
    x = jnp.swapaxes(logits, 1, 2)
    rows = 32 // logits.dtype.itemsize  # of a tile
    more = (-num_experts % rows, -num_tokens % tokens)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, more[1])))
    return jnp.pad(x, ((0, 0), (0, more[0]), (0, 0)), constant_values=-jnp.inf)


def _row(x: jax.Array, length: int, dtype: Any = None) -> jax.Array:
    """Returns [G, N] as [G, 1, length], zeros in what is added."""
    x = x if dtype is None else x.astype(dtype)
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1])))[:, None]


def _mask_spec(mask: jax.Array, tokens: int, blocks_of: bool = True) -> pl.BlockSpec:
    """Returns the blocks of a mask [1 or G, 1, N]; or all of a group at once."""
    group = 0 if mask.shape[0] == 1 else 1
    return pl.BlockSpec((1, 1, tokens), lambda g, i: (g * group, 0, i * blocks_of))


def _refuse(chip: chips.Chip, logits: Any, *_: Any, **settings: Any) -> str | None:
    del chip, settings
    if logits.shape[1] >= _MOST_TOKENS:
        return f"it counts in float32, exact below {_MOST_TOKENS} tokens a group"
    return blocks.refusal(logits.shape[2])


def _no_flops(*_: Any, **settings: Any) -> int:
    del settings
    return 0  # as declared: the product with 0 and 1 is a way to count


ROUTE_FORWARD = wrap.implementation(_route_forward, _no_flops, _refuse)
ROUTE_BACKWARD = wrap.implementation(_route_backward, _no_flops, _refuse)
