"""Operations of the Pallas Performer kernels on one tile of heads.

A tile is 128 lanes, for example two heads of 64. Heads are not sliced out. Instead,
copies of an array, each with all but one head set to zero, are stacked along positions.
One product then gives the weights of all heads side by side, [chunk, heads * chunk],
and another maps them back to the heads' lanes. A chunk is as long as a head is wide, so
that a head's lanes and the keys of its weights coincide. Wider heads have a tile of
their own.
"""

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import reference
from clinometer.kernels.tpu import bits
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products

# Tiles whose steps are interleaved: one's vector work overlaps another's products.
TOGETHER = 4


class Tile:
    """Masks and products for one tile of a layout, inside a kernel.

    Args:
        layout: the layout of the arrays.
        dtype: the dtype of the operands of products.
        epsilon: the epsilon of phi.
    """

    def __init__(self, layout: blocks.Layout, dtype: jnp.dtype, epsilon: float) -> None:
        self.layout = layout
        self.dtype = dtype
        self.epsilon = epsilon
        # Products with ones sum float32 values, and must not round them twice.
        exact = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None
        self.exact = exact

    def features(self, x: jax.Array) -> jax.Array:
        """Returns phi(x), float32."""
        return reference.features(x, self.epsilon)

    def key_features(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Returns phi(x), float32, with 0 for padding lanes and masked keys.

        Args:
            x: [R, tile].
            mask: [R, tile], or None.
        """
        keys = self.features(x)
        layout = self.layout
        if layout.width < layout.lanes:
            lane = jax.lax.broadcasted_iota(jnp.int32, (1, layout.tile), 1)
            keys = jnp.where((lane & (layout.lanes - 1)) < layout.width, keys, 0.0)
        return keys if mask is None else keys * mask

    def stacked(self, x: jax.Array) -> jax.Array:
        """Returns [heads * C, tile]: for each head, x with 0 in other heads' lanes."""
        heads = range(self.layout.heads)
        if len(heads) == 1:
            return x
        return jnp.concatenate(
            [bits.kept(x, lambda _, lane, h=h: self._head(lane) == h) for h in heads]
        )

    def state(self, x: jax.Array) -> jax.Array:
        """Returns a state [tile, tile] with 0 between different heads."""
        x = x.astype(self.dtype)
        if self.layout.heads == 1:
            return x
        return bits.kept(x, lambda row, lane: self._head(row) == self._head(lane))

    def some_tiles(self) -> list[range]:
        """Returns the tiles of a program, in groups that are interleaved."""
        tiles = self.layout.tiles
        starts = range(0, tiles, TOGETHER)
        return [range(t, min(t + TOGETHER, tiles)) for t in starts]

    def chunks(self, x: jax.Array) -> list[jax.Array]:
        """Returns the chunks of [R, lanes]."""
        size = self.layout.chunk
        return [x[start : start + size] for start in range(0, x.shape[0], size)]

    # Within a group, the weights of a chunk of columns with all rows from that chunk on
    # (or up to it) are one product; only those of the chunk itself are masked.

    def weights_of_earlier(
        self, rows: jax.Array, columns: jax.Array, added: jax.Array | float = 0.0
    ) -> list[list[jax.Array]]:
        """Returns the weights of each chunk of columns and the rows from it on.

        Args:
            rows: [R, tile].
            columns: [R, tile].
            added: [R, 128], added to the weights of all columns.

        Returns:
            For each chunk of columns, float32 weights by chunk of rows.
        """
        weights = []
        size = self.layout.chunk
        for c, chunk in enumerate(self.chunks(columns)):
            product = products.dot(rows[c * size :], self.stacked(chunk), (1, 1))
            if not isinstance(added, float):
                product += added[c * size :]
            own = bits.kept(product[:size], lambda row, lane: lane & (size - 1) <= row)
            weights.append([own, *self.chunks(product)[1:]])
        return weights

    def weights_of_later(
        self,
        rows: jax.Array,
        columns: jax.Array,
        added: list[jax.Array] | None = None,
    ) -> list[list[jax.Array]]:
        """Returns the weights of each chunk of columns and the rows up to it.

        Args:
            rows: [R, tile].
            columns: [R, tile].
            added: [1, 128] for each chunk of columns, added to its weights.

        Returns:
            For each chunk of columns, float32 weights by chunk of rows.
        """
        weights = []
        size = self.layout.chunk
        for c, chunk in enumerate(self.chunks(columns)):
            product = products.dot(rows[: (c + 1) * size], self.stacked(chunk), (1, 1))
            if added is not None:
                product += added[c]
            own = bits.kept(
                product[c * size :], lambda row, lane: lane & (size - 1) >= row
            )
            weights.append([*self.chunks(product)[:-1], own])
        return weights

    def sum_of_later(
        self, weights: list[list[jax.Array]], total: jax.Array
    ) -> jax.Array:
        """Adds the weights of earlier columns to `total` [R, 128].

        Args:
            weights: the result of `weights_of_earlier`.
            total: [R, 128].
        """
        parts = self.chunks(total)
        for c, x in enumerate(weights):
            for i, part in enumerate(x):
                parts[c + i] += part
        return jnp.concatenate(parts)

    def products_of_later(
        self, weights: list[list[jax.Array]], columns: jax.Array, total: jax.Array
    ) -> jax.Array:
        """Adds weights of earlier columns times the columns to `total` [R, tile].

        Args:
            weights: the result of `weights_of_earlier`.
            columns: [R, tile].
            total: [R, tile].
        """
        parts = self.chunks(total)
        for c, (x, chunk) in enumerate(zip(weights, self.chunks(columns), strict=True)):
            x = jnp.concatenate(x).astype(self.dtype)
            product = products.dot(x, self.stacked(chunk))
            for i, part in enumerate(self.chunks(product)):
                parts[c + i] += part
        return jnp.concatenate(parts)

    def products_of_earlier(
        self, weights: list[list[jax.Array]], columns: jax.Array, total: jax.Array
    ) -> jax.Array:
        """Adds weights of later columns times the columns to `total` [R, tile].

        Args:
            weights: the result of `weights_of_later`.
            columns: [R, tile].
            total: [R, tile].
        """
        parts = self.chunks(total)
        for x, chunk in zip(weights, self.chunks(columns), strict=True):
            x = jnp.concatenate(x).astype(self.dtype)
            product = products.dot(x, self.stacked(chunk))
            for i, part in enumerate(self.chunks(product)):
                parts[i] += part
        return jnp.concatenate(parts)

    def inverse(self, x: jax.Array) -> jax.Array:
        """Returns 1 / x, finite at 0; exact to 16 bits with bfloat16 operands."""
        if self.dtype == jnp.float32:
            return reference.inverse(x)
        # Where x is 0, so is the factor.
        x = jnp.where(x == 0.0, 1.0, x)
        inverse = pl.reciprocal(x, approx=True)
        return inverse * (2.0 - x * inverse)

    def folded(self, x: jax.Array) -> jax.Array:
        """Sums a wider tile's parts of 128 lanes to [R, 128]."""
        parts = range(0, self.layout.tile, lanes.LANES)
        return sum(x[:, start : start + lanes.LANES] for start in parts)

    def widened(self, x: jax.Array) -> jax.Array:
        """Repeats [R, 128] over the lanes of a wider tile."""
        return jnp.concatenate([x] * (self.layout.tile // lanes.LANES), axis=1)

    def head_sums(self, x: jax.Array) -> jax.Array:
        """Sums the lanes of each head of [R, 128], broadcast to its lanes."""
        ones = jnp.where(self._same_head(lanes.LANES), 1.0, 0.0).astype(self.dtype)
        return products.dot(x.astype(self.dtype), ones, precision=self.exact)

    def head_rows(self, x: jax.Array) -> jax.Array:
        """Sums the lanes of each head of [R, 128] to rows [8 or more, R]."""
        return products.dot(
            self._selector().astype(self.dtype),
            x.astype(self.dtype),
            (1, 1),
            precision=self.exact,
        )

    def columns(self, rows: jax.Array) -> jax.Array:
        """Expands a row per head [heads, R] to [R, 128], in the head's lanes.

        Exact to 16 bits with bfloat16 operands.
        """
        heads, length = rows.shape
        zeros = jnp.zeros((self._selector().shape[0] - heads, length), rows.dtype)
        rows = jnp.concatenate([rows, zeros])
        selector = self._selector().astype(self.dtype)
        high = rows.astype(self.dtype)
        columns = products.dot(high, selector, (0, 0), precision=self.exact)
        if self.dtype == jnp.float32:
            return columns
        low = (rows - high.astype(jnp.float32)).astype(self.dtype)
        return columns + products.dot(low, selector, (0, 0))

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
