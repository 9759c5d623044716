"""Chooses rows of a decoder's state, whatever the architecture keeps in it.

Shapes: B batch, T decoder length.
"""

from typing import Any

import jax
import jax.numpy as jnp

from clinometer.models.seq2seq import model as seq2seq

# In the place of an axis, for leaves that all rows share, such as a count of steps.
NO_ROWS = -1


def row_axes(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoded: seq2seq.Encoded,
    max_decode_length: int,
) -> Any:
    """Returns the axis of the batch of each leaf of the decoder's state.

    Found by what changes with the size of the batch, so it holds for every
    architecture; nothing is computed.

    Args:
        model: any encoder-decoder.
        params: its parameters; shapes are enough.
        encoded: of B rows; shapes are enough.
        max_decode_length: T.

    Returns:
        A tree like the state's, of integers: an axis, or `NO_ROWS`.

    Raises:
        ValueError: a leaf mixes rows with something else in one axis.
    """

    def state_shapes(rows: int) -> seq2seq.Cache:
        resized = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype),
            encoded,
        )
        return jax.eval_shape(
            lambda *args: model.init_cache(*args, max_decode_length), params, resized
        )

    # Both multiples of B, so that what divides a batch over devices divides them too.
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
                "one axis must be that of the rows"
            )
        return changed[0][0]

    return jax.tree_util.tree_map_with_path(axis, *map(state_shapes, sizes))


def take_rows(cache: seq2seq.Cache, axes: Any, rows: jax.Array) -> seq2seq.Cache:
    """Returns the state whose row i is row `rows[i]` of `cache`.

    Args:
        cache: state of B rows.
        axes: of `row_axes`.
        rows: int [R], each in [0, B); a row may be taken often, or never.
    """

    def take(leaf: jax.Array, axis: int) -> jax.Array:
        return leaf if axis == NO_ROWS else jnp.take(leaf, rows, axis, mode="clip")

    return jax.tree.map(take, cache, axes)
