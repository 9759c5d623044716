"""`switch_route` as Pallas TPU kernels: one pass over the logits in each direction.

Tokens are in lanes and experts in sublanes, [E, N]. XLA itself stores the logits of few
experts this way, reductions over experts stay within sublanes, and the results of a
token are dense rows. Logits of a multiple of 128 experts are stored the other way round
and transposed tile by tile.
"""

import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.switch import blocks
from clinometer.kernels.switch import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_TILE = lanes.LANES  # Tokens processed at a time.
_MOST_TOKENS = 1 << 24  # Positions in a group are counted in float32.


def _route_forward(
    logits: jax.Array, mask: jax.Array, *, capacity: int
) -> tuple[jax.Array, ...]:
    """Returns the fields of a `Route`; see `reference.route_forward`."""
    groups, num_tokens, num_experts = logits.shape
    sizes = blocks.choose(wrap.chip(), *logits.shape)
    x = _laid_out(logits, sizes)
    padded, experts = x.shape[1:] if _is_by_token(num_experts) else x.shape[:0:-1]
    at_once = sizes.groups
    row = pl.BlockSpec((at_once, 1, sizes.tokens), lambda g, i: (g, 0, i))
    whole = pl.BlockSpec((at_once, 1, experts), lambda g, i: (g, 0, 0))
    one = pl.BlockSpec((at_once, 1, 1), lambda g, i: (g, 0, 0))
    call = wrap.call(
        functools.partial(
            _forward_kernel, capacity=capacity, by_token=_is_by_token(num_experts)
        ),
        "switch_route_forward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=(groups // at_once, padded // sizes.tokens),
        in_specs=[_logits_spec(x, sizes, num_experts), _mask_spec(mask, sizes)],
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
            pltpu.VMEM((at_once, experts, _TILE), jnp.float32),
            pltpu.VMEM((at_once, experts, _TILE), jnp.float32),
            pltpu.VMEM((at_once, 1, _TILE), jnp.float32),
        ],
    )
    *rows, counts, load, probability, z = call(x, _row(mask, padded, jnp.int32))
    return (
        *(y.reshape(groups, padded)[:, :num_tokens] for y in rows),
        *(
            y.reshape(groups, experts)[:, :num_experts]
            for y in (counts, load, probability)
        ),
        z.reshape(groups),
    )


def _forward_kernel(
    logits_ref: Any,  # [G, E, N] of a block, or [G, N, E]
    mask_ref: Any,  # [1 or G, 1, N]
    expert_ref: Any,  # [G, 1, N]
    slot_ref: Any,
    gate_ref: Any,
    counts_ref: Any,  # [G, 1, E]
    load_ref: Any,
    probability_ref: Any,
    z_ref: Any,  # [G, 1, 1]
    before_ref: Any,  # [G, E, _TILE] tokens of earlier tiles, the same in every lane
    p_ref: Any,  # [G, E, _TILE] sums of probabilities by lane
    z_sum_ref: Any,  # [G, 1, _TILE]
    *,
    capacity: int,
    by_token: bool,
) -> None:
    groups, experts, _ = before_ref.shape
    num_tokens = gate_ref.shape[2]

    @pl.when(pl.program_id(1) == 0)
    def _() -> None:
        for ref in (before_ref, p_ref, z_sum_ref):
            ref[...] = jnp.zeros(ref.shape, ref.dtype)

    expert = _expert_index(experts).astype(jnp.float32)
    # A product with this counts the tokens up to and including each one; in the other
    # lanes, all tokens of the tile.
    counting = jax.lax.broadcasted_iota(jnp.int32, (_TILE, 2 * _TILE), 0)
    counting = counting <= jax.lax.broadcasted_iota(jnp.int32, counting.shape, 1)
    counting = counting.astype(jnp.bfloat16)
    for g in range(groups):
        before, p_sum, z_sum = before_ref[g], p_ref[g], z_sum_ref[g]
        for start in range(0, num_tokens, _TILE):
            here = pl.ds(start, _TILE)
            x = _tile(logits_ref, g, here, by_token)
            valid = mask_ref[g % mask_ref.shape[0], :, here] > 0
            most, key = _most(x)
            first = jnp.where(key == most, expert, experts)
            first = jnp.min(first, axis=0, keepdims=True)
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
            expert_ref[g, :, here] = index
            slot_ref[g, :, here] = jnp.where(
                valid & (place < capacity), index * capacity + place, -1
            )
            gate_ref[g, :, here] = gate
        before_ref[g], p_ref[g], z_sum_ref[g] = before, p_sum, z_sum

    @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
    def _() -> None:
        for g in range(groups):
            tokens_of = jnp.transpose(before_ref[g])[:1]
            share = 1.0 / jnp.maximum(jnp.sum(tokens_of, axis=1, keepdims=True), 1.0)
            counts_ref[g] = jnp.minimum(tokens_of, capacity).astype(jnp.int32)
            load_ref[g] = tokens_of * share
            p = jnp.sum(jnp.transpose(p_ref[g]), axis=0, keepdims=True)
            probability_ref[g] = p * share
            z_ref[g] = jnp.sum(z_sum_ref[g], axis=1, keepdims=True) * share


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
    sizes = blocks.choose(wrap.chip(), *logits.shape)
    by_token = _is_by_token(num_experts)
    x = _laid_out(logits, sizes)
    padded, experts = x.shape[1:] if by_token else x.shape[:0:-1]
    p_grad = jnp.pad(probability_grad, ((0, 0), (0, experts - num_experts)))
    block = _logits_spec(x, sizes, num_experts)
    row = pl.BlockSpec((sizes.groups, 1, sizes.tokens), lambda g, i: (g, 0, i))
    call = wrap.call(
        functools.partial(_backward_kernel, by_token=by_token),
        "switch_route_backward",
        dimension_semantics=("parallel", "arbitrary"),
        grid=(groups // sizes.groups, padded // sizes.tokens),
        in_specs=[
            block,
            _mask_spec(mask, sizes, whole=padded),
            *(row, row, row),
            pl.BlockSpec((sizes.groups, 1, experts), lambda g, i: (g, 0, 0)),
            pl.BlockSpec((sizes.groups, 1, 1), lambda g, i: (g, 0, 0)),
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
    if by_token:
        return (grad[:, :num_tokens],)
    return (jnp.swapaxes(grad[:, :num_experts, :num_tokens], 1, 2),)


def _backward_kernel(
    logits_ref: Any,  # [G, E, N] of a block, or [G, N, E]
    mask_ref: Any,  # [1 or G, 1, N], all of a group
    expert_ref: Any,  # [G, 1, N]
    gate_ref: Any,
    gate_grad_ref: Any,
    p_grad_ref: Any,  # [G, 1, E]
    z_grad_ref: Any,  # [G, 1, 1]
    grad_ref: Any,  # as the logits
    *,
    by_token: bool,
) -> None:
    groups, _, experts = p_grad_ref.shape
    num_tokens = gate_ref.shape[2]
    expert = _expert_index(experts)
    block = pl.program_id(1) * num_tokens
    for g in range(groups):
        masked = g % mask_ref.shape[0]
        tokens = mask_ref[masked].astype(jnp.float32)
        tokens = jnp.sum(tokens, axis=1, keepdims=True)
        share = 1.0 / jnp.maximum(tokens, 1.0)
        p_grad = jnp.broadcast_to(p_grad_ref[g] * share, (_TILE, experts))
        p_grad = jnp.transpose(p_grad)
        z_grad = 2.0 * z_grad_ref[g] * share
        for start in range(0, num_tokens, _TILE):
            here = pl.ds(start, _TILE)
            there = pl.ds(pl.multiple_of(block + start, _TILE), _TILE)
            x = _tile(logits_ref, g, here, by_token)
            valid = mask_ref[masked, :, there] > 0
            gate = gate_ref[g, :, here]
            most, _ = _most(x)
            p = jnp.exp(x - most) * gate
            # Recovers the log-sum-exp from the gate, which is exp(most - log_sum_exp).
            log_sum_exp = most - jnp.log(jnp.where(valid, gate, 1.0))
            gate_part = gate_grad_ref[g, :, here] * gate
            shared = z_grad * log_sum_exp - gate_part
            shared -= jnp.sum(p * p_grad, axis=0, keepdims=True)
            grad = p * (p_grad + shared)
            grad += jnp.where(expert == expert_ref[g, :, here], gate_part, 0.0)
            grad = jnp.where(valid, grad, 0.0)
            if by_token:
                grad_ref[g, here, :] = jnp.transpose(grad).astype(grad_ref.dtype)
            else:
                grad_ref[g, :, here] = grad.astype(grad_ref.dtype)


def _expert_index(experts: int) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, (experts, _TILE), 0)


def _tile(logits_ref: Any, g: int, here: Any, by_token: bool) -> jax.Array:
    """Returns the logits of a tile of tokens, float32 [E, _TILE]."""
    if by_token:
        return jnp.transpose(logits_ref[g, here, :].astype(jnp.float32))
    return logits_ref[g, :, here].astype(jnp.float32)


def _most(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the maximum over the experts, and x with infinity in place of NaN.

    This way a token chooses an expert whose logit is NaN, as `jnp.argmax` does, whether
    or not the chip's maximum propagates NaN.
    """
    key = jnp.where(x == x, x, jnp.inf)
    return jnp.max(key, axis=0, keepdims=True), key


def _is_by_token(num_experts: int) -> bool:
    """Returns whether experts fill whole lanes, so that XLA stores logits as [N, E]."""
    return num_experts % lanes.LANES == 0


def _laid_out(logits: jax.Array, sizes: blocks.RouteBlocks) -> jax.Array:
    """Returns [G, E, N] or [G, N, E], padded to tiles with experts of logit -inf."""
    _, num_tokens, num_experts = logits.shape
    tokens = (0, -num_tokens % sizes.tokens)
    if _is_by_token(num_experts):
        return jnp.pad(logits, ((0, 0), tokens, (0, 0)))
    rows = 32 // logits.dtype.itemsize  # of a tile
    x = jnp.pad(jnp.swapaxes(logits, 1, 2), ((0, 0), (0, 0), tokens))
    more = ((0, 0), (0, -num_experts % rows), (0, 0))
    return jnp.pad(x, more, constant_values=-jnp.inf)


def _logits_spec(
    x: jax.Array, sizes: blocks.RouteBlocks, num_experts: int
) -> pl.BlockSpec:
    if _is_by_token(num_experts):
        shape = (sizes.groups, sizes.tokens, x.shape[2])
        return pl.BlockSpec(shape, lambda g, i: (g, i, 0))
    shape = (sizes.groups, x.shape[1], sizes.tokens)
    return pl.BlockSpec(shape, lambda g, i: (g, 0, i))


def _mask_spec(
    mask: jax.Array, sizes: blocks.RouteBlocks, whole: int | None = None
) -> pl.BlockSpec:
    """Returns the blocks of a mask [1 or G, 1, N], or all `whole` tokens of a group."""
    groups = 1 if mask.shape[0] == 1 else sizes.groups
    shape = (groups, 1, whole or sizes.tokens)
    each_group, each_block = int(mask.shape[0] > 1), int(whole is None)
    return pl.BlockSpec(shape, lambda g, i: (g * each_group, 0, i * each_block))


def _row(x: jax.Array, length: int, dtype: Any = None) -> jax.Array:
    """Returns [G, N] as [G, 1, length], padded with zeros."""
    x = x if dtype is None else x.astype(dtype)
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1])))[:, None]


def _refuse(chip: chips.Chip, logits: Any, **_: Any) -> str | None:
    del chip
    if logits.shape[1] >= _MOST_TOKENS:
        return f"it counts in float32, exact below {_MOST_TOKENS} tokens a group"
    return blocks.refusal(logits.shape[2])


# No FLOPs, as declared: the products with 0 and 1 only count tokens.
ROUTE_FORWARD = wrap.implementation(_route_forward, specs.no_flops, _refuse)
ROUTE_BACKWARD = wrap.implementation(_route_backward, specs.no_flops, _refuse)
