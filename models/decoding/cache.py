"""Selects rows of a decoder's state, for any architecture.

Shapes: B batch, T decoder length.
"""

from typing import Any

import jax
import jax.numpy as jnp

from clinometer.models.seq2seq import model as seq2seq

# Instead of an axis, for leaves that all rows share, such as a step counter.
NO_ROWS = -1


def row_axes(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoded: seq2seq.Encoded,
    max_decode_length: int,
) -> Any:
    """Returns the batch axis of each leaf of the decoder's state.

    It is the axis whose length changes with the batch size, for any architecture.
    Nothing is computed.

    Args:
        model: any encoder-decoder.
        params: its parameters, or their shapes.
        encoded: the encoder's output for B rows, or its shapes.
        max_decode_length: T.

    Returns:
        A tree with the structure of the state; each leaf is an axis or `NO_ROWS`.

    Raises:
        ValueError: a leaf has an axis that combines rows with something else.
    """

    def state_shapes(rows: int) -> seq2seq.Cache:
        resized = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype),
            encoded,
        )
        return jax.eval_shape(
            lambda *args: model.init_cache(*args, max_decode_length), params, resized
        )

    # Both are multiples of B, so that they can be sharded like the batch.
    num_rows = encoded.memory.shape[0]
    sizes = (num_rows, 2 * num_rows)

    def axis(path: Any, once: Any, twice: Any) -> int:
        changed = [
            (number, pair)
            for number, pair in enumerate(zip(once.shape, twice.shape, strict=True))
            if pair[0] != pair[1]
        ]
        if not changed:
            return NO_ROWS
        if len(changed) > 1 or changed[0][1] != sizes:
            raise ValueError(
                f"row_axes: {jax.tree_util.keystr(path)} of the decoder's state is "
                f"{once.shape} for {sizes[0]} rows and {twice.shape} for {sizes[1]}; "
                "exactly one axis must have the length of the batch"
            )
        return changed[0][0]

    return jax.tree_util.tree_map_with_path(axis, *map(state_shapes, sizes))


def take_rows(cache: seq2seq.Cache, axes: Any, rows: jax.Array) -> seq2seq.Cache:
    """Returns the state whose row i is row `rows[i]` of `cache`.

    Args:
        cache: state of B rows.
        axes: axes from `row_axes`.
        rows: int [R], each in [0, B); a row may occur several times, or not at all.

    Returns:
        State of R rows.
    """

    def take(leaf: jax.Array, axis: int) -> jax.Array:
        return leaf if axis == NO_ROWS else jnp.take(leaf, rows, axis, mode="clip")

    return jax.tree.map(take, cache, axes)
