"""Causal Performer attention on TPUs: scans over chunks, with the state in VMEM.

Shapes follow `blocks.Layout`: arrays are [B, length, lanes], denominators [B, parts,
heads per part, length], and a mask is [1 or B, 1, length]. A state is the sum of outer
products over the positions before a chunk (after it, if a scan runs backwards). Within
a chunk, the weights of its positions are computed explicitly.
"""

from collections.abc import Iterator
import functools
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import reference
from clinometer.kernels.performer_attention import tpu_rows
from clinometer.kernels.performer_attention import tpu_tile
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import turns
from clinometer.kernels.tpu import wrap


def forward(
    arrays: tuple[jax.Array, ...],
    mask: jax.Array | None,
    layout: blocks.Layout,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, length, lanes] and the denominators.

    Args:
        arrays: query, key and value, [B, length, lanes].
        mask: [1 or B, 1, length], of phi(key), or None.
        layout: the layout of the arrays.
        epsilon: the epsilon of phi.
    """
    body = functools.partial(
        _forward_kernel,
        layout=layout,
        epsilon=epsilon,
        masked=mask is not None,
    )
    specs = tpu_rows.Specs(layout, arrays[0].shape[0])
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
        scratch_shapes=specs.states(),
    )(*arrays, *([] if mask is None else [mask]))


def backward(
    arrays: tuple[jax.Array, ...],
    denominator: jax.Array,
    mask: jax.Array | None,
    layout: blocks.Layout,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of query, key and value, [B, length, lanes].

    If one program holds the whole sequence, it scans it forwards and then backwards.
    Otherwise two kernels do this, and the operands are read twice.

    Args:
        arrays: query, key, value, output and its gradient, [B, length, lanes].
        denominator: [B, parts, heads per part, length].
        mask: see `forward`.
        layout: the layout of the arrays.
        epsilon: the epsilon of phi.
    """
    specs = tpu_rows.Specs(layout, arrays[0].shape[0])
    shape = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
    is_one = layout.rows == layout.length
    operands = (*arrays, denominator, *([] if mask is None else [mask]))

    def run(name: str, query: bool, key: bool) -> Any:
        here = tpu_rows.Specs(layout, arrays[0].shape[0], backwards=not query)
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
            scratch_shapes=specs.prepared(arrays[0].dtype) + specs.states(),
        )(*operands)

    if is_one:
        return tuple(run("performer_causal_backward", True, True))
    (query_grad,) = run("performer_causal_backward_query", True, False)
    return query_grad, *run("performer_causal_backward_key", False, True)


def _forward_kernel(
    *refs: Any, layout: blocks.Layout, epsilon: float, masked: bool
) -> None:
    query_ref, key_ref, value_ref, *refs = refs
    mask_ref = refs.pop(0) if masked else None
    output_ref, denominator_ref, state_ref, total_ref = refs
    dtype = query_ref.dtype
    tile = tpu_tile.Tile(layout, dtype, epsilon)
    tpu_rows.start_states((state_ref, total_ref))

    def step(t: int, index: Any) -> Iterator[None]:
        lane = slice(t * layout.tile, (t + 1) * layout.tile)
        at = tpu_rows.span(index, layout.group)
        queries = tile.features(query_ref[0, at, lane])
        mask = tpu_rows.mask_column(tile, mask_ref, at)
        keys = tile.key_features(key_ref[0, at, lane], mask)
        values = value_ref[0, at, lane]
        query, key = queries.astype(dtype), keys.astype(dtype)
        yield
        within = tile.weights_of_earlier(query, key)
        before = products.dot(query, tile.state(state_ref[t]))
        yield
        # The weights of all keys, summed into a head's lanes. The sum of these lanes is
        # the denominator.
        weights = tile.folded(queries * total_ref[t])
        weights = tile.sum_of_later(within, weights)
        denominator = tile.head_sums(weights)
        rows = tile.head_rows(weights)[: layout.heads]
        state_ref[t] += products.dot(key, values, (0, 0))
        total_ref[t] += jnp.sum(keys, axis=0, keepdims=True)
        yield
        numerator = tile.products_of_later(within, values, before)
        yield
        output = numerator * tile.widened(tile.inverse(denominator))
        output_ref[0, at, lane] = output.astype(output_ref.dtype)
        heads = slice(t * layout.heads, (t + 1) * layout.heads)
        denominator_ref[0, 0, heads, at] = rows

    for some in tile.some_tiles():
        tpu_rows.scan(
            layout.rows // layout.group,
            lambda index, some=some: turns.together([step(t, index) for t in some]),
        )


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
    prepared, states = tuple(refs[:3]), tuple(refs[3:])
    tile = tpu_tile.Tile(layout, arrays[0].dtype, epsilon)
    count = layout.rows // layout.group
    for some in tile.some_tiles():

        def run(step: Any, *args: Any, some: Any = some, **kwargs: Any) -> None:
            def each(index: Any) -> None:
                turns.together([step(tile, t, index, arrays, *args) for t in some])

            tpu_rows.scan(count, each, **kwargs)

        run(_prepare, denominator_ref, prepared)
        if query:
            tpu_rows.start_states(states)
            run(_query_step, mask_ref, prepared, states, query_grad_ref)
        if key:
            tpu_rows.start_states(states)
            run(_key_step, mask_ref, prepared, states, *key_grad_refs, backwards=True)


def _prepare(
    tile: tpu_tile.Tile,
    t: int,
    index: Any,
    arrays: Any,
    denominator_ref: Any,
    prepared: Any,
) -> Iterator[None]:
    """Writes the gradients of a group's numerators and denominators to scratch.

    Those of the denominators are written as columns of lanes and as a row per chunk.
    """
    *_, output_ref, output_grad_ref = arrays
    gradient_ref, column_ref, row_ref = prepared
    layout = tile.layout
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    heads = slice(t * layout.heads, (t + 1) * layout.heads)
    at, kept = tpu_rows.span(index, layout.group), t % tpu_tile.TOGETHER
    rows = reference.inverse(denominator_ref[0, 0, heads, at])
    scale = tile.widened(tile.columns(rows))
    yield
    gradient = output_grad_ref[0, at, lane].astype(jnp.float32) * scale
    gradient_ref[kept, at, :] = gradient.astype(gradient_ref.dtype)
    # The denominator's gradient is minus the sum over the head's lanes.
    terms = gradient * output_ref[0, at, lane].astype(jnp.float32)
    terms = -tile.folded(terms)
    column_ref[kept, at, :] = tile.head_sums(terms)
    ones = jnp.ones((8, lanes.LANES), tile.dtype)
    chunks = tile.chunks(terms.astype(tile.dtype))
    for c, chunk in enumerate(chunks):
        row = products.dot(ones, tile.stacked(chunk), (1, 1), precision=tile.exact)
        row_ref[kept, index * len(chunks) + c] = row


def _query_step(
    tile: tpu_tile.Tile,
    t: int,
    index: Any,
    arrays: Any,
    mask_ref: Any,
    prepared: Any,
    states: Any,
    query_grad_ref: Any,
) -> Iterator[None]:
    """Computes a group's query gradients, from the state of earlier keys."""
    query_ref, key_ref, value_ref, *_ = arrays
    gradient_ref, column_ref, _ = prepared
    state_ref, total_ref = states  # Sums of values times keys, and of keys.
    layout = tile.layout
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    at, kept = tpu_rows.span(index, layout.group), t % tpu_tile.TOGETHER
    mask = tpu_rows.mask_column(tile, mask_ref, at)
    keys = tile.key_features(key_ref[0, at, lane], mask)
    key, values = keys.astype(tile.dtype), value_ref[0, at, lane]
    gradient, column = gradient_ref[kept, at, :], column_ref[kept, at, :]
    yield
    scores = tile.weights_of_earlier(gradient, values, column)
    result = products.dot(gradient, tile.state(state_ref[t]))
    result += tile.widened(column) * total_ref[t]
    yield
    state_ref[t] += products.dot(values, key, (0, 0))
    total_ref[t] += jnp.sum(keys, axis=0, keepdims=True)
    result = tile.products_of_later(scores, key, result)
    yield
    query = query_ref[0, at, lane].astype(jnp.float32)
    result = jnp.where(query <= 0.0, 0.0, result)
    query_grad_ref[0, at, lane] = result.astype(query_grad_ref.dtype)


def _key_step(
    tile: tpu_tile.Tile,
    t: int,
    index: Any,
    arrays: Any,
    mask_ref: Any,
    prepared: Any,
    states: Any,
    key_grad_ref: Any,
    value_grad_ref: Any,
) -> Iterator[None]:
    """Computes a group's key and value gradients, from the state of later queries."""
    query_ref, key_ref, value_ref, *_ = arrays
    gradient_ref, _, row_ref = prepared
    state_ref, total_ref = states  # Queries times gradients, and denominators.
    layout = tile.layout
    lane = slice(t * layout.tile, (t + 1) * layout.tile)
    at, kept = tpu_rows.span(index, layout.group), t % tpu_tile.TOGETHER
    mask = tpu_rows.mask_column(tile, mask_ref, at)
    raw_key, values = key_ref[0, at, lane], value_ref[0, at, lane]
    key = tile.key_features(raw_key, mask).astype(tile.dtype)
    query = tile.features(query_ref[0, at, lane]).astype(tile.dtype)
    gradient = gradient_ref[kept, at, :]
    chunks = layout.group // layout.chunk
    rows = [row_ref[kept, index * chunks + c] for c in range(chunks)]
    state = tile.state(state_ref[t])
    yield
    weights = tile.weights_of_later(key, query)
    scores = tile.weights_of_later(values, gradient, [row[:1] for row in rows])
    value_grad = products.dot(key, state)
    key_grad = products.dot(values, state, (1, 1)) + total_ref[t]
    yield
    state_ref[t] += products.dot(query, gradient, (0, 0))
    for row, chunk in zip(rows, tile.chunks(query), strict=True):
        total_ref[t] += products.dot(row.astype(tile.dtype), tile.stacked(chunk))[:1]
    value_grad = tile.products_of_earlier(weights, gradient, value_grad)
    key_grad = tile.products_of_earlier(scores, query, key_grad)
    yield
    value_grad_ref[0, at, lane] = value_grad.astype(value_grad_ref.dtype)
    key_grad = jnp.where(raw_key.astype(jnp.float32) <= 0.0, 0.0, key_grad)
    if mask is not None:
        key_grad *= mask
    key_grad_ref[0, at, lane] = key_grad.astype(key_grad_ref.dtype)
