"""The experts' feed-forward layer as Pallas TPU kernels: one in each direction.

A program multiplies the rows of one expert, of all groups or, if many, of some of them,
by a block of its hidden width: up, ReLU, dropout and down. No hidden rows reach HBM:
the backward kernel computes them, and draws the mask of dropout, again, while it waits
for the weights.
"""

import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.switch import expert_blocks
from clinometer.kernels.switch import tpu_dropout
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import wrap

_SCALARS = pl.BlockSpec(memory_space=pltpu.SMEM)


def _forward(
    x: jax.Array,  # [G, E, C, d]
    wi: jax.Array,  # [1 or G, E, d, f]
    wo: jax.Array,  # [1 or G, E, f, d]
    counts: jax.Array,  # [G, E]
    keep: jax.Array,  # not read
    seeds: jax.Array,  # [G, E]
    column_keys: jax.Array,  # [1 or G, f]
    *,
    num_tokens: int,
    num_experts: int,
    groups: int,
    dropout_rate: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns y [G, E, C, d], and instead of the hidden rows a constant.

    XLA removes the constant, since no other kernel reads it. No result of a ReLU is
    -inf: gradients of another implementation would show that it was used.
    """
    del num_tokens, num_experts, keep  # For costs, and for other implementations.
    s = expert_blocks.choose(wrap.chip(), "forward", x, wi, groups, dropout_rate > 0)
    row, (drawn, drawn_specs, keys) = _row_spec(s), _drawn(s, seeds, column_keys)
    y = wrap.call(
        functools.partial(_forward_kernel, s, dropout_rate),
        "expert_feed_forward_forward",
        dimension_semantics=("parallel", "parallel", "arbitrary"),
        grid=(groups * s.pieces, s.num_experts, s.hidden_blocks),
        in_specs=[
            _SCALARS,
            row,
            _wi_spec(s, wi, s.pieces),
            _wo_spec(s, wo, s.pieces),
            drawn_specs,
        ],
        out_specs=row,
        out_shape=jax.ShapeDtypeStruct((groups * s.pieces, *s.rows_shape), x.dtype),
        scratch_shapes=[*[pltpu.VMEM((s.rows, s.width), jnp.float32)] * 2, keys],
        vmem_limit_bytes=expert_blocks.vmem_limit_bytes(wrap.chip(), s, "forward"),
    )(
        counts.reshape(-1),
        x.reshape(-1, *s.rows_shape),
        _by_part(wi, groups),
        _by_part(wo, groups),
        drawn,
    )
    hidden = jnp.full((*x.shape[:3], wi.shape[3]), -jnp.inf, x.dtype)
    return y.reshape(x.shape), hidden


def _forward_kernel(
    s: expert_blocks.ExpertShapes,
    rate: float,
    counts_ref: Any,  # [G * E]
    x_ref: Any,  # [1, parts, 1, C, d]
    wi_ref: Any,  # [1, 1, d, f] of a block
    wo_ref: Any,  # [1, 1, f, d]
    drawn_refs: Any,  # [G * E] and [1, 1, f], or none
    y_ref: Any,  # as x
    rows_ref: Any,  # [rows, d]
    sum_ref: Any,  # [rows, d]
    keys_refs: Any,  # [rows, 128], or none
) -> None:
    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        _pack(s, counts_ref, x_ref, rows_ref)
        _seed(s, drawn_refs, keys_refs)

    rows = rows_ref[...].astype(x_ref.dtype)
    hidden = _relu(products.dot(rows, wi_ref[0, 0]))
    (hidden,) = _dropped(rate, drawn_refs, keys_refs, hidden)
    _add(s, sum_ref, products.dot(hidden.astype(x_ref.dtype), wo_ref[0, 0]))

    @pl.when(pl.program_id(2) == s.hidden_blocks - 1)
    def _() -> None:
        _unpack(s, counts_ref, sum_ref, y_ref)


def _backward(
    x: jax.Array,  # [G, E, C, d]
    wi: jax.Array,  # [1 or G, E, d, f]
    wo: jax.Array,  # [1 or G, E, f, d]
    counts: jax.Array,  # [G, E]
    keep: jax.Array,  # not read
    seeds: jax.Array,  # [G, E]
    column_keys: jax.Array,  # [1 or G, f]
    hidden: jax.Array,  # not read; see `_forward`
    y_grad: jax.Array,  # [G, E, C, d]
    *,
    num_tokens: int,
    num_experts: int,
    groups: int,
    dropout_rate: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of x, wi [groups, E, d, f] and wo [groups, E, f, d]."""
    del hidden, num_tokens, num_experts, keep
    s = expert_blocks.choose(wrap.chip(), "backward", x, wi, groups, dropout_rate > 0)
    row, (drawn, drawn_specs, keys) = _row_spec(s), _drawn(s, seeds, column_keys)
    wi_parts, wo_parts = _by_part(wi, groups), _by_part(wo, groups)
    # Of pieces, gradients are summed before they are rounded.
    grads = [
        jax.ShapeDtypeStruct(
            (groups * s.pieces, *w.shape[1:]), w.dtype if s.pieces == 1 else jnp.float32
        )
        for w in (wi_parts, wo_parts)
    ]
    x_grad, wi_grad, wo_grad = wrap.call(
        functools.partial(_backward_kernel, s, dropout_rate),
        "expert_feed_forward_backward",
        dimension_semantics=("parallel", "parallel", "arbitrary"),
        grid=(groups * s.pieces, s.num_experts, s.hidden_blocks),
        in_specs=[
            _SCALARS,
            row,
            _wi_spec(s, wi_parts, s.pieces),
            _wo_spec(s, wo_parts, s.pieces),
            drawn_specs,
            row,
        ],
        out_specs=[row, _wi_spec(s, grads[0], 1), _wo_spec(s, grads[1], 1)],
        out_shape=[
            jax.ShapeDtypeStruct((groups * s.pieces, *s.rows_shape), x.dtype),
            *grads,
        ],
        scratch_shapes=[
            *[pltpu.VMEM((s.rows, s.width), jnp.float32)] * 3,
            pltpu.VMEM((s.rows, lanes.LANES), jnp.float32),
            keys,
        ],
        vmem_limit_bytes=expert_blocks.vmem_limit_bytes(wrap.chip(), s, "backward"),
    )(
        counts.reshape(-1),
        x.reshape(-1, *s.rows_shape),
        wi_parts,
        wo_parts,
        drawn,
        y_grad.reshape(-1, *s.rows_shape),
    )
    if s.pieces > 1:
        wi_grad, wo_grad = (
            grad.reshape(groups, s.pieces, *w.shape[1:]).sum(1).astype(w.dtype)
            for grad, w in ((wi_grad, wi), (wo_grad, wo))
        )
    return x_grad.reshape(x.shape), wi_grad, wo_grad


def _backward_kernel(
    s: expert_blocks.ExpertShapes,
    rate: float,
    counts_ref: Any,  # [G * E]
    x_ref: Any,  # [1, parts, 1, C, d]
    wi_ref: Any,  # [1, 1, d, f] of a block
    wo_ref: Any,  # [1, 1, f, d]
    drawn_refs: Any,  # [G * E] and [1, 1, f], or none
    y_grad_ref: Any,  # as x
    x_grad_ref: Any,  # as x
    wi_grad_ref: Any,  # as wi
    wo_grad_ref: Any,  # as wo
    rows_ref: Any,  # [rows, d]
    grads_ref: Any,  # [rows, d]
    sum_ref: Any,  # [rows, d]
    filled_ref: Any,  # [rows, 128] 1 or 0
    keys_refs: Any,  # [rows, 128], or none
) -> None:
    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        _pack(s, counts_ref, x_ref, rows_ref)
        _pack(s, counts_ref, y_grad_ref, grads_ref)
        _mark(s, counts_ref, filled_ref)
        _seed(s, drawn_refs, keys_refs)

    dtype, grad_dtype = x_ref.dtype, wi_grad_ref.dtype
    rows, grads = rows_ref[...].astype(dtype), grads_ref[...].astype(dtype)
    before = products.dot(rows, wi_ref[0, 0])
    hidden_grad = products.dot(grads, wo_ref[0, 0], over=(1, 1))
    # Zeros times infinite weights are NaN, which must not reach a sum over the rows.
    filled = filled_ref[:, :1] > 0
    hidden = jnp.where(filled, _relu(before), 0.0)
    hidden_grad = jnp.where(before > 0, hidden_grad, 0.0)
    both = _dropped(rate, drawn_refs, keys_refs, hidden, hidden_grad)
    hidden, hidden_grad = (a.astype(dtype) for a in both)
    wo_grad = products.dot(hidden, grads, over=(0, 0))
    wi_grad = products.dot(rows, hidden_grad, over=(0, 0))
    wo_grad_ref[0, 0] = wo_grad.astype(grad_dtype)
    wi_grad_ref[0, 0] = wi_grad.astype(grad_dtype)
    _add(s, sum_ref, products.dot(hidden_grad, wi_ref[0, 0], over=(1, 1)))

    @pl.when(pl.program_id(2) == s.hidden_blocks - 1)
    def _() -> None:
        _unpack(s, counts_ref, sum_ref, x_grad_ref)


def _relu(x: jax.Array) -> jax.Array:
    """Returns the ReLU, NaN where x is, whatever the chip's maximum does with NaN."""
    return jnp.where(x <= 0, 0.0, x)


def _seed(s: expert_blocks.ExpertShapes, drawn_refs: Any, keys_refs: Any) -> None:
    """Writes the rows' keys of dropout, in every lane."""
    if not s.dropout:
        return
    (seeds_ref, _), (keys_ref,) = drawn_refs, keys_refs
    for part in range(s.parts):
        group = pl.program_id(0) * s.parts + part
        seed = seeds_ref[group * s.num_experts + pl.program_id(1)]
        shape = (s.capacity, lanes.LANES)
        rows = pl.ds(part * s.capacity, s.capacity)
        keys_ref[rows] = tpu_dropout.row_keys(seed, shape)
    _pad(s, keys_ref)


def _dropped(
    rate: float, drawn_refs: Any, keys_refs: Any, *arrays: jax.Array
) -> tuple[jax.Array, ...]:
    """Returns hidden rows, and their gradients, after dropout with one mask."""
    if not rate:
        return arrays
    (_, columns_ref), (keys_ref,) = drawn_refs, keys_refs
    keep = tpu_dropout.keep(keys_ref[:, :1], columns_ref[0], rate)
    return tuple(jnp.where(keep, x * (1.0 / (1.0 - rate)), 0.0) for x in arrays)


def _add(s: expert_blocks.ExpertShapes, sum_ref: Any, x: jax.Array) -> None:
    """Adds a hidden block's part of the rows' sum."""
    if s.hidden_blocks == 1:
        sum_ref[...] = x
        return

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        sum_ref[...] = x

    @pl.when(pl.program_id(2) > 0)
    def _() -> None:
        sum_ref[...] += x


def _filled(
    s: expert_blocks.ExpertShapes, counts_ref: Any, part: int, columns: int
) -> jax.Array:
    """Returns whether each slot of a group holds a token, bool [C, columns]."""
    group = pl.program_id(0) * s.parts + part
    count = counts_ref[group * s.num_experts + pl.program_id(1)]
    shape = (s.capacity, columns)
    return jax.lax.broadcasted_iota(jnp.int32, shape, 0) < count


def _pack(
    s: expert_blocks.ExpertShapes, counts_ref: Any, x_ref: Any, rows_ref: Any
) -> None:
    """Writes the rows of all groups one below the other, with zeros for empty slots."""
    for part in range(s.parts):
        x = x_ref[0, part, 0].astype(jnp.float32)
        x = jnp.where(_filled(s, counts_ref, part, s.width), x, 0.0)
        rows_ref[pl.ds(part * s.capacity, s.capacity)] = x
    _pad(s, rows_ref)


def _mark(s: expert_blocks.ExpertShapes, counts_ref: Any, filled_ref: Any) -> None:
    """Writes 1 for the rows that hold a token and 0 for others, in every lane."""
    for part in range(s.parts):
        filled = _filled(s, counts_ref, part, lanes.LANES)
        filled_ref[pl.ds(part * s.capacity, s.capacity)] = jnp.where(filled, 1.0, 0.0)
    _pad(s, filled_ref)


def _pad(s: expert_blocks.ExpertShapes, ref: Any) -> None:
    """Writes zeros after the rows of all groups."""
    used = s.parts * s.capacity
    if used < s.rows:
        shape = (s.rows - used, ref.shape[1])
        ref[pl.ds(used, s.rows - used)] = jnp.zeros(shape, ref.dtype)


def _unpack(
    s: expert_blocks.ExpertShapes, counts_ref: Any, rows_ref: Any, x_ref: Any
) -> None:
    """The inverse of `_pack`."""
    for part in range(s.parts):
        x = rows_ref[pl.ds(part * s.capacity, s.capacity)]
        x = jnp.where(_filled(s, counts_ref, part, s.width), x, 0.0)
        x_ref[0, part, 0] = x.astype(x_ref.dtype)


def _by_part(w: jax.Array, groups: int) -> jax.Array:
    """Returns [1 or groups, ...]: `vmap` repeats a shared array for a part's groups."""
    return w if w.shape[0] == 1 else w[:: w.shape[0] // groups]


def _drawn(
    s: expert_blocks.ExpertShapes, seeds: jax.Array, column_keys: jax.Array
) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Returns the operands of dropout, their specs and its scratch; or no such."""
    if not s.dropout:
        return (), (), ()
    groups = seeds.shape[0] // (s.parts * s.pieces)
    columns = _by_part(column_keys, groups)[:, None]
    own = int(columns.shape[0] > 1)
    shape = (1, 1, s.hidden)
    spec = pl.BlockSpec(shape, lambda p, e, j: (_part(p, s.pieces) * own, 0, j))
    keys = pltpu.VMEM((s.rows, lanes.LANES), jnp.int32)
    return (seeds.reshape(-1), columns), (_SCALARS, spec), (keys,)


def _part(piece: jax.Array, pieces: int) -> jax.Array:
    """Returns the part of a piece. `//`, which rounds down, is not lowered in specs."""
    return piece if pieces == 1 else jax.lax.div(piece, jnp.int32(pieces))


def _row_spec(s: expert_blocks.ExpertShapes) -> pl.BlockSpec:
    shape = (1, s.parts, 1, s.capacity, s.width)
    return pl.BlockSpec(shape, lambda p, e, j: (p, 0, e, 0, 0))


def _wi_spec(s: expert_blocks.ExpertShapes, w: Any, pieces: int) -> pl.BlockSpec:
    own = int(w.shape[0] > 1)
    shape = (1, 1, s.width, s.hidden)
    return pl.BlockSpec(shape, lambda p, e, j: (_part(p, pieces) * own, e, 0, j))


def _wo_spec(s: expert_blocks.ExpertShapes, w: Any, pieces: int) -> pl.BlockSpec:
    own = int(w.shape[0] > 1)
    shape = (1, 1, s.hidden, s.width)
    return pl.BlockSpec(shape, lambda p, e, j: (_part(p, pieces) * own, e, j, 0))


def _refuse(
    chip: chips.Chip,
    x: Any,
    wi: Any,
    counts: Any,
    groups: int,
    dropout_rate: float,
    **_: Any,
) -> str | None:
    # The same for both passes: only the backward kernel here can do without the hidden
    # rows that the forward kernel here does not return.
    return expert_blocks.refusal(chip, x, wi, counts, groups, dropout_rate > 0)


def _executed(products: int, x: Any, wi: Any, **_: Any) -> int:
    # Of all slots, since empty ones are multiplied too.
    slots = x.shape[0] * x.shape[1] * x.shape[2]
    return products * 2 * slots * wi.shape[2] * wi.shape[3]


FORWARD = wrap.implementation(_forward, functools.partial(_executed, 2), _refuse)
BACKWARD = wrap.implementation(_backward, functools.partial(_executed, 5), _refuse)
