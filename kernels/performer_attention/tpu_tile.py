"""What the Performer kernels for TPUs do to one tile of heads.

A tile is 128 lanes: two heads of 64, say. Heads are never sliced out. Copies of an array
with all but one head zeroed are stacked along the positions, so that one product gives
the weights of all heads side by side, [chunk, heads * chunk], and another takes them
back to the heads' lanes. A chunk is as long as a head is wide: then the lanes of a head
and the keys of its weights are the same ones. Wider heads are alone in their tile.
"""

import jax
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import reference
from clinometer.kernels.tpu import lanes


def dot(
    a: jax.Array,
    b: jax.Array,
    over: tuple[int, int] = (1, 0),
    precision: jax.lax.Precision | None = None,
) -> jax.Array:
    """Product over an axis of each, float32."""
    return jax.lax.dot_general(
        a,
        b,
        (((over[0],), (over[1],)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )


class Tile:
    """Masks and products for one tile of a layout, in a kernel that is traced.

    Args:
        layout: of the arrays.
        dtype: of the operands, which products take.
        epsilon: of phi.
    """

    def __init__(self, layout: blocks.Layout, dtype: jnp.dtype, epsilon: float) -> None:
        self.layout = layout
        self.dtype = dtype
        self.epsilon = epsilon
        # Sums are of float32: a product with ones must not round them more than once.
        exact = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None
        self.exact = exact

    def features(self, x: jax.Array) -> jax.Array:
        """Returns phi(x), float32."""
        return reference.features(x, self.epsilon)

    def key_features(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Returns phi(x) float32, 0 in lanes that pad a head and of masked keys."""
        keys = self.features(x)
        layout = self.layout
        if layout.width < layout.lanes:
            lane = jax.lax.broadcasted_iota(jnp.int32, (1, layout.tile), 1)
            keys = jnp.where((lane & (layout.lanes - 1)) < layout.width, keys, 0.0)
        return keys if mask is None else keys * mask

    def stacked(self, x: jax.Array) -> jax.Array:
        """Returns [heads * C, tile]: a copy of [C, tile] for each head, else 0."""
        if self.layout.heads == 1:
            return x
        zero = jnp.zeros((), x.dtype)
        masks = [
            lanes.head_mask(head, self.layout.lanes)
            for head in range(self.layout.heads)
        ]
        return jnp.concatenate([jnp.where(mask, x, zero) for mask in masks])

    def of_same_head(self, x: jax.Array) -> jax.Array:
        """Returns a state [tile, tile] without what is of two different heads."""
        if self.layout.heads == 1:
            return x
        return jnp.where(self._same_head(self.layout.tile), x, 0.0)

    def earlier(self, x: jax.Array) -> jax.Array:
        """Returns [C, 128] where the column's position is not after the row's."""
        return jnp.where(self._positions()[1] <= self._positions()[0], x, 0.0)

    def later(self, x: jax.Array) -> jax.Array:
        """Returns [C, 128] where the column's position is not before the row's."""
        return jnp.where(self._positions()[1] >= self._positions()[0], x, 0.0)

    def folded(self, x: jax.Array) -> jax.Array:
        """Returns the sum [R, 128] of a wider tile's parts of 128 lanes."""
        parts = range(0, self.layout.tile, lanes.LANES)
        return sum(x[:, start : start + lanes.LANES] for start in parts)

    def widened(self, x: jax.Array) -> jax.Array:
        """Repeats [R, 128] over the lanes of a wider tile."""
        return jnp.concatenate([x] * (self.layout.tile // lanes.LANES), axis=1)

    def head_sums(self, x: jax.Array) -> jax.Array:
        """Sums the lanes of each head of [R, 128], to each of them."""
        ones = jnp.where(self._same_head(lanes.LANES), 1.0, 0.0).astype(self.dtype)
        return dot(x.astype(self.dtype), ones, precision=self.exact)

    def head_rows(self, x: jax.Array) -> jax.Array:
        """Sums the lanes of each head of [R, 128], to rows [8 or more, R]."""
        return dot(
            self._selector().astype(self.dtype),
            x.astype(self.dtype),
            (1, 1),
            precision=self.exact,
        )

    def columns(self, rows: jax.Array) -> jax.Array:
        """Turns a row for each head [heads, R] to [R, 128], in the head's lanes.

        Exact to 16 bits with bfloat16 operands.
        """
        heads, length = rows.shape
        zeros = jnp.zeros((self._selector().shape[0] - heads, length), rows.dtype)
        rows = jnp.concatenate([rows, zeros])
        selector = self._selector().astype(self.dtype)
        high = rows.astype(self.dtype)
        columns = dot(high, selector, (0, 0), precision=self.exact)
        if self.dtype == jnp.float32:
            return columns
        low = (rows - high.astype(jnp.float32)).astype(self.dtype)
        return columns + dot(low, selector, (0, 0))

    def _selector(self) -> jax.Array:
        """Returns [8 or more, 128], 1 where the row is the lane's head."""
        shape = (max(8, self.layout.heads), lanes.LANES)
        row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
        lane = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
        return jnp.where(row == self._head(lane), 1.0, 0.0)

    def _same_head(self, size: int) -> jax.Array:
        row = jax.lax.broadcasted_iota(jnp.int32, (size, size), 0)
        lane = jax.lax.broadcasted_iota(jnp.int32, (size, size), 1)
        return self._head(row) == self._head(lane)

    def _head(self, lane: jax.Array) -> jax.Array:
        return lane >> (self.layout.lanes - 1).bit_length()

    def _positions(self) -> tuple[jax.Array, jax.Array]:
        """Returns the positions in the chunk of rows and of columns, [C, 128]."""
        shape = (self.layout.chunk, lanes.LANES)
        row = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
        lane = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
        return row, lane & (self.layout.chunk - 1)
