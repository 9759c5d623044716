"""Reference implementations of the Switch operations in plain jnp.

Rows are moved by index, not by the usual products with one-hot [N, E, C] masks, which
cost more than the experts. Operands and settings are those of `specs.py`; G is the
batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_RANK_BLOCK = 32  # Tokens that are compared pairwise.


def route_forward(
    logits: jax.Array,  # [G, N, E]
    mask: jax.Array,  # [1 or G, N]
    *,
    capacity: int,
) -> tuple[jax.Array, ...]:
    """Returns the fields of a `Route`."""
    groups, num_tokens, num_experts = logits.shape
    mask = jnp.broadcast_to(mask, (groups, num_tokens))
    logits = logits.astype(jnp.float32)
    expert_index = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    most = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - most)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    gate = jnp.where(mask, 1.0 / total[..., 0], 0.0)
    routed = jnp.where(mask, expert_index, -1)
    position, tokens_of = _positions(routed, num_experts)
    kept = mask & (position < capacity)
    share = (1.0 / jnp.maximum(jnp.sum(mask, axis=1), 1))[:, None]
    p = jnp.where(mask[..., None], weights * gate[..., None], 0.0)
    probability = jnp.sum(p, axis=1) * share
    log_sum_exp = jnp.where(mask, (most + jnp.log(total))[..., 0], 0.0)
    return (
        expert_index,
        jnp.where(kept, expert_index * capacity + position, -1),
        gate,
        jnp.minimum(tokens_of, capacity),
        tokens_of.astype(jnp.float32) * share,
        probability,
        jnp.sum(jnp.square(log_sum_exp), axis=1) * share[:, 0],
    )


def route_backward(
    logits: jax.Array,  # [G, N, E]
    mask: jax.Array,  # [1 or G, N]
    expert_index: jax.Array,  # [G, N]
    gate: jax.Array,  # [G, N]
    gate_grad: jax.Array,  # [G, N]
    probability_grad: jax.Array,  # [G, E]
    z_grad: jax.Array,  # [G]
) -> tuple[jax.Array]:
    """Returns the gradient of the logits."""
    experts = jnp.arange(logits.shape[2], dtype=jnp.int32)
    chosen = expert_index[..., None] == experts[None, None]
    values = logits.astype(jnp.float32)
    most = jnp.max(values, axis=-1, keepdims=True)
    p = jnp.exp(values - most) * gate[..., None]
    share = 1.0 / jnp.maximum(jnp.sum(mask, axis=1), 1)
    probability_grad = (probability_grad * share[:, None])[:, None]
    # Recovers the log-sum-exp from the gate, which is exp(most - log_sum_exp).
    log_sum_exp = most[..., 0] - jnp.log(jnp.where(mask, gate, 1.0))
    gate_part = gate_grad * gate
    shared = 2.0 * (z_grad * share)[:, None] * log_sum_exp - gate_part
    shared -= jnp.sum(p * probability_grad, axis=-1)
    grad = p * (probability_grad + shared[..., None])
    grad += jnp.where(chosen, gate_part[..., None], 0.0)
    return (jnp.where(mask[..., None], grad, 0.0).astype(logits.dtype),)


def dispatch(
    x: jax.Array,  # [G, N, d]
    slot: jax.Array,  # [G, N]
    *,
    num_experts: int,
    capacity: int,
) -> tuple[jax.Array]:
    """Returns the rows by slot, [G, E, C, d]."""
    rows = _scatter_rows(x, slot, num_experts * capacity)
    return (rows.reshape(-1, num_experts, capacity, x.shape[-1]),)


def combine(
    y: jax.Array,  # [G, E, C, d]
    slot: jax.Array,  # [G, N]
    gate: jax.Array,  # [1 or G, N]
) -> tuple[jax.Array]:
    """Returns the rows by token, times the gate, [G, N, d]."""
    rows, held = _gather_rows(y, slot)
    product = rows.astype(jnp.float32) * gate[..., None]
    return (jnp.where(held[..., None], product, 0.0).astype(y.dtype),)


def dispatch_backward(
    y_grad: jax.Array,  # [G, E, C, d]
    slot: jax.Array,  # [G, N]
    gate: jax.Array,  # [1, N], ones
) -> tuple[jax.Array]:
    """Returns the gradient of x, [G, N, d]."""
    return combine(y_grad, slot, gate)


def combine_backward(
    y: jax.Array,  # [G, E, C, d]
    slot: jax.Array,  # [G, N]
    gate: jax.Array,  # [G, N]
    output_grad: jax.Array,  # [G, N, d]
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of y [G, E, C, d] and of the gate [G, N]."""
    gate_grad, scaled = combine_gradients(y, slot, gate, output_grad)
    y_grad = _scatter_rows(scaled, slot, y.shape[1] * y.shape[2]).reshape(y.shape)
    return y_grad, gate_grad


def combine_gradients(
    y: jax.Array,  # [G, E, C, d]
    slot: jax.Array,  # [G, N]
    gate: jax.Array,  # [G, N]
    output_grad: jax.Array,  # [G, N, d]
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of the gate [G, N], and of y by token [G, N, d]."""
    rows, held = _gather_rows(y, slot)
    grad = output_grad.astype(jnp.float32)
    gate_grad = jnp.sum(rows.astype(jnp.float32) * grad, axis=-1)
    scaled = (grad * gate[..., None]).astype(y.dtype)
    return jnp.where(held, gate_grad, 0.0), scaled


def expert_matmul_forward(
    x: jax.Array,  # [G, E, C, d]
    w: jax.Array,  # [1 or G, E, d, f]
    counts: jax.Array,  # [G, E]
    *,
    num_tokens: int,
    num_experts: int,
    groups: int,
) -> tuple[jax.Array]:
    """Returns the products, [G, E, C, f]."""
    del num_tokens, num_experts, groups  # Only for costs and gradients.
    y = _product("ecd,edf->ecf", x, w)
    return (jnp.where(_filled(x, counts), y, 0.0).astype(x.dtype),)


def expert_matmul_backward(
    x: jax.Array,  # [G, E, C, d]
    w: jax.Array,  # [1 or G, E, d, f]
    counts: jax.Array,  # [G, E]
    y_grad: jax.Array,  # [G, E, C, f]
    *,
    num_tokens: int,
    num_experts: int,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x [G, E, C, d] and w [groups, E, d, f]."""
    del num_tokens, num_experts  # Only for costs.
    filled = _filled(x, counts)
    x, y_grad = jnp.where(filled, x, 0), jnp.where(filled, y_grad, 0)
    x_grad = jnp.where(filled, _product("ecf,edf->ecd", y_grad, w), 0.0)
    # Experts lead and an expert's rows form one matrix, as in a batched matmul.
    parts, experts = x.shape[0] // groups, x.shape[1]
    rows = [
        jnp.moveaxis(a.reshape(groups, parts, *a.shape[1:]), 2, 1).reshape(
            groups * experts, -1, a.shape[3]
        )
        for a in (x, y_grad)
    ]
    w_grad = jnp.einsum("ecd,ecf->edf", *rows, preferred_element_type=jnp.float32)
    w_grad = w_grad.reshape(groups, experts, *w_grad.shape[1:])
    return x_grad.astype(x.dtype), w_grad.astype(w.dtype)


def feed_forward_forward(
    x: jax.Array,  # [G, E, C, d]
    wi: jax.Array,  # [1 or G, E, d, f]
    wo: jax.Array,  # [1 or G, E, f, d]
    counts: jax.Array,  # [G, E]
    keep: jax.Array,  # [G, E, C, f]
    seeds: jax.Array,  # not read
    column_keys: jax.Array,  # not read
    *,
    dropout_rate: float,
    matmul: Callable[..., tuple[jax.Array]] = expert_matmul_forward,
    **settings: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the experts' outputs [G, E, C, d] and hidden rows [G, E, C, f].

    Args:
        x: rows by slot.
        wi: the experts' first matrices.
        wo: their second ones.
        counts: the numbers of filled slots.
        keep: the elements of the hidden rows that dropout keeps.
        seeds: only for TPU kernels.
        column_keys: only for TPU kernels.
        dropout_rate: the probability that dropout drops an element; `keep` is not used
            if it is 0.
        matmul: the forward pass of `expert_matmul`.
        **settings: its settings.
    """
    del seeds, column_keys
    (hidden,) = matmul(x=x, w=wi, counts=counts, **settings)
    hidden = dropped(jax.nn.relu(hidden), keep, dropout_rate)
    (y,) = matmul(x=hidden, w=wo, counts=counts, **settings)
    return y, hidden


def feed_forward_backward(
    x: jax.Array,  # [G, E, C, d]
    wi: jax.Array,  # [1 or G, E, d, f]
    wo: jax.Array,  # [1 or G, E, f, d]
    counts: jax.Array,  # [G, E]
    keep: jax.Array,  # not read
    seeds: jax.Array,  # not read
    column_keys: jax.Array,  # not read
    hidden: jax.Array,  # [G, E, C, f]
    y_grad: jax.Array,  # [G, E, C, d]
    *,
    dropout_rate: float,
    matmul: Callable[..., tuple[jax.Array, jax.Array]] = expert_matmul_backward,
    **settings: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of x, wi [groups, E, d, f] and wo [groups, E, f, d].

    Args:
        x: see `feed_forward_forward`.
        wi: see `feed_forward_forward`.
        wo: see `feed_forward_forward`.
        counts: see `feed_forward_forward`.
        keep: not needed: elements that were dropped are 0 in `hidden`.
        seeds: see `feed_forward_forward`.
        column_keys: see `feed_forward_forward`.
        hidden: the hidden rows that it returned.
        y_grad: the gradient of the outputs.
        dropout_rate: see `feed_forward_forward`.
        matmul: the backward pass of `expert_matmul`.
        **settings: its settings.
    """
    del keep, seeds, column_keys
    hidden_grad, wo_grad = matmul(
        x=hidden, w=wo, counts=counts, y_grad=y_grad, **settings
    )
    if dropout_rate > 0:
        hidden_grad /= 1.0 - dropout_rate
    hidden_grad = jnp.where(hidden > 0, hidden_grad, 0)
    x_grad, wi_grad = matmul(x=x, w=wi, counts=counts, y_grad=hidden_grad, **settings)
    return x_grad, wi_grad, wo_grad


def dropped(x: jax.Array, keep: jax.Array, rate: float) -> jax.Array:
    """Returns x with zeros where `keep` is False, and the rest scaled up.

    Args:
        x: an array.
        keep: bool, of its shape; not used if `rate` is 0.
        rate: the probability that `keep` is False.
    """
    if rate == 0:
        return x
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def _positions(routed: jax.Array, num_experts: int) -> tuple[jax.Array, jax.Array]:
    """Returns each token's position within its expert, and each expert's token count.

    Tokens are compared pairwise within short blocks, with a cumulative sum over the
    blocks. XLA's cumulative sum over all tokens is several times slower.
    """
    groups, num_tokens = routed.shape
    padding = ((0, 0), (0, -num_tokens % _RANK_BLOCK))
    routed = jnp.pad(routed, padding, constant_values=-1)
    blocks = routed.reshape(groups, -1, _RANK_BLOCK)
    experts = jnp.arange(num_experts, dtype=jnp.int32)
    hits = blocks[..., None] == experts[None, None, None]
    of_block = jnp.sum(hits, axis=2, dtype=jnp.int32)
    through = jnp.cumsum(of_block, axis=1)
    earlier = jnp.tril(jnp.ones((_RANK_BLOCK, _RANK_BLOCK), jnp.bool_), -1)
    same = (blocks[..., :, None] == blocks[..., None, :]) & earlier[None, None]
    before = jnp.take_along_axis(through - of_block, jnp.maximum(blocks, 0), axis=2)
    position = jnp.sum(same, axis=-1, dtype=jnp.int32) + before
    return position.reshape(groups, -1)[:, :num_tokens], through[:, -1]


def _scatter_rows(x: jax.Array, slot: jax.Array, num_slots: int) -> jax.Array:
    """Moves rows [G, N, d] to their slots [G, S, d], by a gather, not a scatter."""
    groups, num_tokens, _ = x.shape
    group = jnp.arange(groups, dtype=jnp.int32)[:, None]
    token = jnp.broadcast_to(jnp.arange(num_tokens, dtype=jnp.int32), slot.shape)
    target = jnp.where(slot < 0, num_slots, slot)
    token_of = jnp.full((groups, num_slots), -1, jnp.int32)
    token_of = token_of.at[group, target].set(token, mode="drop")
    rows = jnp.take_along_axis(x, jnp.maximum(token_of, 0)[..., None], axis=1)
    return jnp.where((token_of >= 0)[..., None], rows, 0)


def _gather_rows(y: jax.Array, slot: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the rows of the slots by token, and whether each token has a slot."""
    groups, num_experts, capacity, width = y.shape
    num_slots = num_experts * capacity
    held = (slot >= 0) & (slot < num_slots)
    index = jnp.where(held, slot, 0)[..., None]
    rows = y.reshape(groups, num_slots, width)
    return jnp.take_along_axis(rows, index, axis=1), held


def _filled(x: jax.Array, counts: jax.Array) -> jax.Array:
    """Returns whether each slot holds a token, bool [G, E, C, 1]."""
    position = jnp.arange(x.shape[2], dtype=jnp.int32)[None, None, :, None]
    return position < counts[..., None, None]


def _product(pattern: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """Multiplies rows [G, E, C, _] by w [1 or G, E, d, f] or its transpose; float32."""
    groups, num_experts, capacity, width = x.shape
    shared = w.shape[0] == 1
    if shared:  # An expert's rows of all groups are one matrix.
        rows = jnp.moveaxis(x, 1, 0).reshape(num_experts, groups * capacity, width)
    else:
        rows = x.reshape(groups * num_experts, capacity, width)
    w = w.reshape(-1, *w.shape[2:])
    y = jnp.einsum(pattern, rows, w, preferred_element_type=jnp.float32)
    if shared:
        y = jnp.moveaxis(y.reshape(num_experts, groups, capacity, -1), 0, 1)
    return y.reshape(groups, num_experts, capacity, -1)
