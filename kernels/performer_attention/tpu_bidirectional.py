"""Bidirectional Performer attention on TPUs: one state of all keys per head.

Shapes are those of `tpu_causal`. A program holds the whole sequences of its heads in
VMEM, and so reads and writes every array once.
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
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import turns
from clinometer.kernels.tpu import wrap

Layouts = tuple[blocks.Layout, blocks.Layout]  # Of queries and of keys.

span = tpu_rows.span


def forward(
    arrays: tuple[jax.Array, ...],
    mask: jax.Array | None,
    layouts: Layouts,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the output [B, T, lanes] and the denominators.

    Args:
        arrays: query [B, T, lanes], key and value [B, S, lanes].
        mask: [1 or B, 1, S], of phi(key), or None.
        layouts: the layouts of queries and keys; programs take the whole length.
        epsilon: the epsilon of phi.
    """
    body = functools.partial(
        _forward_kernel, layouts=layouts, epsilon=epsilon, masked=mask is not None
    )
    batch = arrays[0].shape[0]
    queries, keys = (tpu_rows.Specs(layout, batch) for layout in layouts)
    return wrap.call(
        body,
        "performer_bidirectional_forward",
        dimension_semantics=("parallel", "parallel", "arbitrary"),
        grid=queries.grid,
        in_specs=[queries.array(), keys.array(), keys.array(), *keys.masks(mask)],
        out_specs=[queries.array(), queries.denominator()],
        out_shape=[
            jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype),
            queries.denominators(),
        ],
        scratch_shapes=keys.states(),
    )(*arrays, *([] if mask is None else [mask]))


def backward(
    arrays: tuple[jax.Array, ...],
    denominator: jax.Array,
    mask: jax.Array | None,
    layouts: Layouts,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of query [B, T, lanes], key and value [B, S, lanes].

    Args:
        arrays: query, key, value, output and its gradient.
        denominator: [B, parts, heads per part, T].
        mask: see `forward`.
        layouts: see `forward`.
        epsilon: the epsilon of phi.
    """
    body = functools.partial(
        _backward_kernel, layouts=layouts, epsilon=epsilon, masked=mask is not None
    )
    batch = arrays[0].shape[0]
    queries, keys = (tpu_rows.Specs(layout, batch) for layout in layouts)
    query, key = queries.array(), keys.array()
    specs = [query, key, key, query, query, queries.denominator(), *keys.masks(mask)]
    return wrap.call(
        body,
        "performer_bidirectional_backward",
        dimension_semantics=("parallel", "parallel", "arbitrary"),
        grid=queries.grid,
        in_specs=specs,
        out_specs=[query, key, key],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays[:3]],
        scratch_shapes=keys.states() + keys.states(),
    )(*arrays, denominator, *([] if mask is None else [mask]))


class _Body:
    """The code shared by both passes, inside a kernel.

    Args:
        layouts: the layouts of queries and keys.
        dtype: the dtype of the operands.
        epsilon: the epsilon of phi.
    """

    def __init__(self, layouts: Layouts, dtype: jnp.dtype, epsilon: float) -> None:
        self.queries, self.keys = (
            tpu_tile.Tile(layout, dtype, epsilon) for layout in layouts
        )

    def run(self, step: Any, tile: tpu_tile.Tile, *args: Any) -> None:
        """Runs `step(tile, t, at, ...)` over all tiles and groups of positions."""
        layout = tile.layout
        for some in tile.some_tiles():

            def each(index: Any, some: Any = some) -> None:
                at = span(index, layout.group)
                turns.together([step(tile, t, at, *args) for t in some])

            tpu_rows.scan(layout.rows // layout.group, each)


def _lane(tile: tpu_tile.Tile, t: int) -> slice:
    return slice(t * tile.layout.tile, (t + 1) * tile.layout.tile)


def _heads(tile: tpu_tile.Tile, t: int) -> slice:
    return slice(t * tile.layout.heads, (t + 1) * tile.layout.heads)


def _gather(
    tile: tpu_tile.Tile,
    t: int,
    at: Any,
    key_ref: Any,
    value_ref: Any,
    mask_ref: Any,
    states: Any,
) -> Iterator[None]:
    """Adds a group of keys to the state (keys times values) and to the sum of keys."""
    state_ref, total_ref = states
    mask = tpu_rows.mask_column(tile, mask_ref, at)
    keys = tile.key_features(key_ref[0, at, _lane(tile, t)], mask)
    values = value_ref[0, at, _lane(tile, t)]
    yield
    state_ref[t] += products.dot(keys.astype(tile.dtype), values, (0, 0))
    total_ref[t] += jnp.sum(keys, axis=0, keepdims=True)


def _forward_kernel(*refs: Any, layouts: Layouts, epsilon: float, masked: bool) -> None:
    query_ref, key_ref, value_ref, *refs = refs
    mask_ref = refs.pop(0) if masked else None
    output_ref, denominator_ref, *states = refs
    body = _Body(layouts, query_ref.dtype, epsilon)
    tpu_rows.start_states(states)
    body.run(_gather, body.keys, key_ref, value_ref, mask_ref, states)
    state_ref, total_ref = states

    def read(tile: tpu_tile.Tile, t: int, at: Any) -> Iterator[None]:
        queries = tile.features(query_ref[0, at, _lane(tile, t)])
        yield
        numerator = products.dot(queries.astype(tile.dtype), tile.state(state_ref[t]))
        weights = tile.folded(queries * total_ref[t])
        denominator = tile.head_sums(weights)
        rows = tile.head_rows(weights)[: tile.layout.heads]
        yield
        output = numerator * tile.widened(tile.inverse(denominator))
        output_ref[0, at, _lane(tile, t)] = output.astype(output_ref.dtype)
        denominator_ref[0, 0, _heads(tile, t), at] = rows

    body.run(read, body.queries)


def _backward_kernel(
    *refs: Any, layouts: Layouts, epsilon: float, masked: bool
) -> None:
    query_ref, key_ref, value_ref, output_ref, output_grad_ref, *refs = refs
    denominator_ref, *refs = refs
    mask_ref = refs.pop(0) if masked else None
    query_grad_ref, key_grad_ref, value_grad_ref, *refs = refs
    states, gradient_states = refs[:2], refs[2:]
    body = _Body(layouts, query_ref.dtype, epsilon)
    tpu_rows.start_states(refs)
    body.run(_gather, body.keys, key_ref, value_ref, mask_ref, states)

    def of_queries(tile: tpu_tile.Tile, t: int, at: Any) -> Iterator[None]:
        lane = _lane(tile, t)
        rows = reference.inverse(denominator_ref[0, 0, _heads(tile, t), at])
        scale = tile.widened(tile.columns(rows))
        yield
        # Gradients of the numerator, and of the denominator in all lanes of a head.
        gradient = output_grad_ref[0, at, lane].astype(jnp.float32) * scale
        terms = gradient * output_ref[0, at, lane].astype(jnp.float32)
        column = tile.widened(-tile.head_sums(tile.folded(terms)))
        gradient = gradient.astype(tile.dtype)
        yield
        query = query_ref[0, at, lane]
        queries = tile.features(query)
        result = products.dot(gradient, tile.state(states[0][t]), (1, 1))
        result += column * states[1][t]
        gradient_states[0][t] += products.dot(
            queries.astype(tile.dtype), gradient, (0, 0)
        )
        gradient_states[1][t] += jnp.sum(queries * column, axis=0, keepdims=True)
        yield
        result = jnp.where(query.astype(jnp.float32) <= 0.0, 0.0, result)
        query_grad_ref[0, at, lane] = result.astype(query_grad_ref.dtype)

    body.run(of_queries, body.queries)

    def of_keys(tile: tpu_tile.Tile, t: int, at: Any) -> Iterator[None]:
        lane = _lane(tile, t)
        mask = tpu_rows.mask_column(tile, mask_ref, at)
        key, values = key_ref[0, at, lane], value_ref[0, at, lane]
        keys = tile.key_features(key, mask).astype(tile.dtype)
        yield
        state = tile.state(gradient_states[0][t])
        value_grad = products.dot(keys, state)
        key_grad = products.dot(values, state, (1, 1)) + gradient_states[1][t]
        yield
        value_grad_ref[0, at, lane] = value_grad.astype(value_grad_ref.dtype)
        key_grad = jnp.where(key.astype(jnp.float32) <= 0.0, 0.0, key_grad)
        if mask is not None:
            key_grad *= mask
        key_grad_ref[0, at, lane] = key_grad.astype(key_grad_ref.dtype)

    body.run(of_keys, body.keys)
