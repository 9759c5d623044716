"""Causal Performer attention on TPUs: scans over chunks, with the state in VMEM.

Shapes as in `blocks.Layout`: arrays are [B, length, lanes], denominators [B, parts,
heads of a part, length], a mask [1 or B, 1, length]. A state is the sum over the
positions before a chunk (after it, where a scan goes backwards) of products of two
vectors; within the chunk, the weights of its positions are made.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import reference
from clinometer.kernels.performer_attention import tpu_tile
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Groups of positions whose chunks are one run of instructions; more are a loop of such.
_UNROLLED = 4

dot = tpu_tile.dot


def forward(
    arrays: tuple[jax.Array, ...],
    mask: jax.Array | None,
    layout: blocks.Layout,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, length, lanes] and the denominators.

    Args:
        arrays: query, key and value, [B, length, lanes].
        mask: [1 or B, 1, length] on phi(key), or None.
        layout: of the arrays.
        epsilon: of phi.
    """
    body = functools.partial(
        _forward_kernel,
        layout=layout,
        epsilon=epsilon,
        masked=mask is not None,
    )
    specs = Specs(layout, arrays[0].shape[0])
    is_one = layout.rows == layout.length
    state = specs.states()
    return wrap.call(
        body,
        "performer_causal_forward",
        dimension_semantics=("parallel", "parallel", "arbitrary"),
        grid=specs.grid,
        in_specs=[specs.array()] * 3 + specs.masks(mask),
        out_specs=[specs.array(), specs.denominator()],
        out_shape=[
            jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype),
            specs.denominators(),
        ],
        scratch_shapes=[] if is_one else state,
    )(*arrays, *([] if mask is None else [mask]))


def backward(
    arrays: tuple[jax.Array, ...],
    denominator: jax.Array,
    mask: jax.Array | None,
    layout: blocks.Layout,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of query, key and value, [B, length, lanes].

    A program that has the whole sequence scans it forwards and then backwards; else
    two kernels do, and read the operands twice.

    Args:
        arrays: query, key, value, output and its gradient, [B, length, lanes].
        denominator: [B, parts, heads of a part, length].
        mask: as `forward`.
        layout: of the arrays.
        epsilon: of phi.
    """
    specs = Specs(layout, arrays[0].shape[0])
    shape = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
    is_one = layout.rows == layout.length
    operands = (*arrays, denominator, *([] if mask is None else [mask]))

    def run(name: str, query: bool, key: bool) -> Any:
        here = Specs(layout, arrays[0].shape[0], backwards=not query)
        body = functools.partial(
            _backward_kernel,
            layout=layout,
            epsilon=epsilon,
            masked=mask is not None,
            query=query,
            key=key,
        )
        results = 1 * query + 2 * key
        return wrap.call(
            body,
            name,
            dimension_semantics=("parallel", "parallel", "arbitrary"),
            grid=here.grid,
            in_specs=[here.array()] * 5 + [here.denominator()] + here.masks(mask),
            out_specs=[here.array()] * results,
            out_shape=[shape] * results,
            scratch_shapes=specs.prepared(arrays[0].dtype)
            + ([] if is_one else specs.states()),
        )(*operands)

    if is_one:
        return tuple(run("performer_causal_backward", True, True))
    (query_grad,) = run("performer_causal_backward_query", True, False)
    return query_grad, *run("performer_causal_backward_key", False, True)


class Specs:
    """Blocks of the arrays: grid (batch, part of the tiles, rows).

    Args:
        layout: of the arrays.
        batch: B.
        backwards: the rows are visited from the last to the first.
    """

    def __init__(
        self, layout: blocks.Layout, batch: int, backwards: bool = False
    ) -> None:
        self._layout = layout
        self._batch = batch
        parts = layout.num_tiles // layout.tiles
        self._num_rows = layout.length // layout.rows
        self._backwards = backwards
        self.grid = (batch, parts, self._num_rows)

    def _row(self, i: Any) -> Any:
        return self._num_rows - 1 - i if self._backwards else i

    def array(self) -> pl.BlockSpec:
        """Of [B, length, lanes]."""
        layout = self._layout
        shape = (1, layout.rows, layout.tiles * layout.tile)
        return pl.BlockSpec(shape, lambda b, p, i: (b, self._row(i), p))

    def denominator(self) -> pl.BlockSpec:
        """Of the denominators."""
        layout = self._layout
        shape = (1, 1, layout.tiles * layout.heads, layout.rows)
        return pl.BlockSpec(shape, lambda b, p, i: (b, p, 0, self._row(i)))

    def denominators(self) -> jax.ShapeDtypeStruct:
        """Shape of the denominators of all."""
        layout = self._layout
        heads = layout.tiles * layout.heads
        shape = (self._batch, self.grid[1], heads, layout.length)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def masks(self, mask: jax.Array | None) -> list[pl.BlockSpec]:
        """Of a mask [1 or B, 1, length], if there is one."""
        if mask is None:
            return []
        one = mask.shape[0] == 1
        shape = (1, 1, self._layout.rows)
        return [pl.BlockSpec(shape, lambda b, p, i: (0 if one else b, 0, self._row(i)))]

    def states(self) -> list[Any]:
        """Scratch that carries a state and a sum of vectors to the next rows."""
        layout = self._layout
        shape = (layout.tiles, layout.tile, layout.tile)
        return [
            pltpu.VMEM(shape, jnp.float32),
            pltpu.VMEM((layout.tiles, 1, layout.tile), jnp.float32),
        ]

    def prepared(self, dtype: jnp.dtype) -> list[Any]:
        """Scratch for what both scans of the backward pass use, of one tile."""
        layout = self._layout
        return [
            pltpu.VMEM((layout.rows, layout.tile), dtype),
            pltpu.VMEM((layout.rows, lanes.LANES), jnp.float32),
            pltpu.VMEM((layout.rows // layout.chunk, 8, lanes.LANES), jnp.float32),
        ]


def scan(
    count: int,
    step: Callable[[Any, Any], Any],
    carry: Any,
    backwards: bool = False,
) -> Any:
    """Returns the carry after `step(i, carry)` for all i below count, in order.

    Args:
        count: how many steps.
        step: index, a number or a scalar, and carry to the next carry.
        carry: arrays.
        backwards: from the last to the first.
    """
    loops = count // _UNROLLED if count > _UNROLLED else 0
    rest = range(loops * _UNROLLED, count)

    def several(i: jax.Array, carry: Any) -> Any:
        first = (loops - 1 - i if backwards else i) * _UNROLLED
        inner = range(_UNROLLED)
        for j in reversed(inner) if backwards else inner:
            carry = step(first + j, carry)
        return carry

    if backwards:
        for i in reversed(rest):
            carry = step(i, carry)
    if loops:
        carry = jax.lax.fori_loop(0, loops, several, carry)
    if not backwards:
        for i in rest:
            carry = step(i, carry)
    return carry


def span(index: Any, size: int, offset: int = 0, count: int | None = None) -> pl.Slice:
    """Returns `count` (or `size`) positions from index * size + offset on."""
    start = index * size
    if not isinstance(start, int):
        start = pl.multiple_of(start, size)
    return pl.ds(start + offset, size if count is None else count)


class Carried:
    """States of the tiles, in scratch where a sequence is in several programs.

    Args:
        refs: scratch of `Specs.states`, or nothing.
        tile: lanes of a tile.
    """

    def __init__(self, refs: tuple[Any, ...], tile: int) -> None:
        self._refs = refs
        self._tile = tile
        if refs:

            @pl.when(pl.program_id(2) == 0)
            def _start() -> None:
                for ref in refs:
                    ref[...] = jnp.zeros_like(ref)

    def load(self, t: int) -> tuple[jax.Array, jax.Array]:
        """Returns the state and the sum of tile t."""
        if self._refs:
            return self._refs[0][t], self._refs[1][t]
        shapes = (self._tile, self._tile), (1, self._tile)
        return tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)

    def store(self, t: int, state: tuple[jax.Array, jax.Array]) -> None:
        """Keeps the state and the sum of tile t."""
        for ref, x in zip(self._refs, state, strict=False):
            ref[t] = x


def mask_column(tile: tpu_tile.Tile, mask_ref: Any, at: pl.Slice) -> jax.Array | None:
    """Returns the mask [R, lanes of the tile] of some positions, or None."""
    if mask_ref is None:
        return None
    row = mask_ref[0, :, at]
    return tile.widened(tile.columns(jnp.concatenate([row] * tile.layout.heads)))


def _forward_kernel(
    *refs: Any, layout: blocks.Layout, epsilon: float, masked: bool
) -> None:
    query_ref, key_ref, value_ref, *refs = refs
    mask_ref = refs.pop(0) if masked else None
    output_ref, denominator_ref, *state_refs = refs
    dtype = query_ref.dtype
    tile = tpu_tile.Tile(layout, dtype, epsilon)
    carried = Carried(tuple(state_refs), layout.tile)
    group, size = layout.group, layout.chunk

    def step(t: int, index: Any, carry: Any) -> Any:
        state, total = carry
        lane = slice(t * layout.tile, (t + 1) * layout.tile)
        at = span(index, group)
        mask = mask_column(tile, mask_ref, at)
        weights = []
        for start in range(0, group, size):
            rows = span(index, group, start, size)
            queries = tile.features(query_ref[0, rows, lane])
            some = None if mask is None else mask[start : start + size]
            keys = tile.key_features(key_ref[0, rows, lane], some)
            values = value_ref[0, rows, lane]
            query, key = queries.astype(dtype), keys.astype(dtype)
            within = tile.earlier(dot(query, tile.stacked(key), (1, 1)))
            # Of the weights of all keys, as many lanes as a head has: their sum is
            # the denominator.
            weights.append(within + tile.folded(queries * total))
            numerator = dot(within.astype(dtype), tile.stacked(values))
            numerator += dot(query, tile.state(state))
            inverse = tile.inverse(tile.head_sums(weights[-1]))
            output = numerator * tile.widened(inverse)
            output_ref[0, rows, lane] = output.astype(output_ref.dtype)
            state += dot(key, values, (0, 0))
            total += jnp.sum(keys, axis=0, keepdims=True)
        rows = tile.head_rows(jnp.concatenate(weights))[: layout.heads]
        heads = slice(t * layout.heads, (t + 1) * layout.heads)
        denominator_ref[0, 0, heads, at] = rows
        return state, total

    for t in range(layout.tiles):
        count = layout.rows // group
        carried.store(t, scan(count, functools.partial(step, t), carried.load(t)))


def _backward_kernel(
    *refs: Any,
    layout: blocks.Layout,
    epsilon: float,
    masked: bool,
    query: bool,
    key: bool,
) -> None:
    arrays, (denominator_ref, *refs) = refs[:5], refs[5:]
    mask_ref = refs.pop(0) if masked else None
    query_grad_ref = refs.pop(0) if query else None
    key_grad_refs = [refs.pop(0) for _ in range(2 * key)]
    prepared, state_refs = tuple(refs[:3]), tuple(refs[3:])
    tile = tpu_tile.Tile(layout, arrays[0].dtype, epsilon)
    carried = Carried(state_refs, layout.tile)
    for t in range(layout.tiles):
        _prepare(tile, t, arrays, denominator_ref, prepared)
        if query:
            run = functools.partial(
                _query_step, tile, t, arrays, mask_ref, prepared, query_grad_ref
            )
            count = layout.rows // layout.group
            carried.store(t, scan(count, run, carried.load(t)))
        if key:
            run = functools.partial(
                _key_step, tile, t, arrays, mask_ref, prepared, *key_grad_refs
            )
            count = layout.rows // layout.group
            carried.store(t, scan(count, run, carried.load(t), backwards=True))


def _prepare(
    tile: tpu_tile.Tile, t: int, arrays: Any, denominator_ref: Any, prepared: Any
) -> None:
    """Leaves the gradients of numerators and denominators of tile t in scratch.

    Those of the denominators as columns of lanes, and as a row for each chunk.
    """
    *_, output_ref, output_grad_ref = arrays
    gradient_ref, column_ref, row_ref = prepared
    layout = tile.layout
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    heads = slice(t * layout.heads, (t + 1) * layout.heads)

    def step(index: Any, carry: Any) -> Any:
        at = span(index, layout.group)
        rows = reference.inverse(denominator_ref[0, 0, heads, at])
        scale = tile.widened(tile.columns(rows))
        gradient = output_grad_ref[0, at, lane].astype(jnp.float32) * scale
        gradient_ref[at, :] = gradient.astype(gradient_ref.dtype)
        # Minus the sum over a head's lanes is the gradient of its denominator.
        terms = gradient * output_ref[0, at, lane].astype(jnp.float32)
        terms = -tile.folded(terms)
        column_ref[at, :] = tile.head_sums(terms)
        ones = jnp.ones((8, lanes.LANES), tile.dtype)
        terms = terms.astype(tile.dtype)
        chunks = layout.group // layout.chunk
        for c in range(chunks):
            some = terms[c * layout.chunk : (c + 1) * layout.chunk]
            row = dot(ones, tile.stacked(some), (1, 1), precision=tile.exact)
            row_ref[index * chunks + c] = row
        return carry

    scan(layout.rows // layout.group, step, ())


def _query_step(
    tile: tpu_tile.Tile,
    t: int,
    arrays: Any,
    mask_ref: Any,
    prepared: Any,
    query_grad_ref: Any,
    index: Any,
    carry: Any,
) -> Any:
    """Gradients of the queries of a group, from the state of keys before it."""
    query_ref, key_ref, value_ref, *_ = arrays
    gradient_ref, column_ref, _ = prepared
    layout, dtype = tile.layout, tile.dtype
    state, total = carry  # of values by keys
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    mask = mask_column(tile, mask_ref, span(index, layout.group))
    for start in range(0, layout.group, layout.chunk):
        rows = span(index, layout.group, start, layout.chunk)
        some = None if mask is None else mask[start : start + layout.chunk]
        keys = tile.key_features(key_ref[0, rows, lane], some)
        key, values = keys.astype(dtype), value_ref[0, rows, lane]
        gradient, column = gradient_ref[rows, :], column_ref[rows, :]
        scores = dot(gradient, tile.stacked(values), (1, 1)) + column
        result = dot(tile.earlier(scores).astype(dtype), tile.stacked(key))
        result += dot(gradient, tile.state(state)) + tile.widened(column) * total
        query = query_ref[0, rows, lane].astype(jnp.float32)
        result = jnp.where(query <= 0.0, 0.0, result)
        query_grad_ref[0, rows, lane] = result.astype(query_grad_ref.dtype)
        state += dot(values, key, (0, 0))
        total += jnp.sum(keys, axis=0, keepdims=True)
    return state, total


def _key_step(
    tile: tpu_tile.Tile,
    t: int,
    arrays: Any,
    mask_ref: Any,
    prepared: Any,
    key_grad_ref: Any,
    value_grad_ref: Any,
    index: Any,
    carry: Any,
) -> Any:
    """Gradients of a group's keys and values, from the state of queries after it."""
    query_ref, key_ref, value_ref, *_ = arrays
    gradient_ref, _, row_ref = prepared
    layout, dtype = tile.layout, tile.dtype
    state, total = carry  # of queries by gradients of numerators; of denominators
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    mask = mask_column(tile, mask_ref, span(index, layout.group))
    for start in reversed(range(0, layout.group, layout.chunk)):
        rows = span(index, layout.group, start, layout.chunk)
        some = None if mask is None else mask[start : start + layout.chunk]
        raw_key, values = key_ref[0, rows, lane], value_ref[0, rows, lane]
        key = tile.key_features(raw_key, some).astype(dtype)
        query = tile.features(query_ref[0, rows, lane]).astype(dtype)
        gradient = gradient_ref[rows, :]
        chunks = layout.group // layout.chunk
        row = row_ref[index * chunks + start // layout.chunk]
        queries, gradients = tile.stacked(query), tile.stacked(gradient)
        weights = tile.later(dot(key, queries, (1, 1))).astype(dtype)
        result = dot(weights, gradients) + dot(key, tile.state(state))
        value_grad_ref[0, rows, lane] = result.astype(value_grad_ref.dtype)
        scores = tile.later(dot(values, gradients, (1, 1)) + row[:1]).astype(dtype)
        result = dot(scores, queries) + dot(values, tile.state(state), (1, 1)) + total
        result = jnp.where(raw_key.astype(jnp.float32) <= 0.0, 0.0, result)
        if some is not None:
            result *= some
        key_grad_ref[0, rows, lane] = result.astype(key_grad_ref.dtype)
        state += dot(query, gradient, (0, 0))
        total += dot(row.astype(dtype), queries)[:1]
    return state, total
