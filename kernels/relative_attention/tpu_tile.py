"""One block of transposed logits in VMEM: head masks, bias and attention masks.

Keys are along sublanes and queries along lanes. Sums and maxima over keys are then
plain vector operations, statistics of queries are dense rows, and weights are the
stationary operand of the matrix units, past which the rows of a head move. A head of
width 64 therefore fills the units, except in products that contract over its width.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import enum
from typing import Any

import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from clinometer.kernels.relative_attention import reference
from clinometer.kernels.relative_attention import tpu_band
from clinometer.kernels.relative_attention import tpu_tiling
from clinometer.kernels.tpu import lanes

# The logit of padding keys, which have no weight even if a query has no key to attend
# to and weighs all real keys equally.
PADDING_LOGIT = -3e38

BY_LAST = (((1,), (1,)), ((), ()))  # Contracts the last axes of both operands.
_LANES = lanes.LANES


class Causal(enum.Enum):
    """The causal mask of a block.

    Attributes:
        NONE: no key is masked.
        DIAGONAL: the block's first query and key are at the same position.
        ANY: the mask depends on the offset.
    """

    NONE = enum.auto()
    DIAGONAL = enum.auto()
    ANY = enum.auto()


@dataclasses.dataclass(frozen=True)
class Block:
    """One program's block of queries and keys.

    Attributes:
        tiling: the tiling of the call.
        offsets: reference to `tpu_tiling.offsets`.
        first_example: the index in the batch of the program's first example.
        query_block: the index of the block of queries.
        key_block: the index of the block of keys.
    """

    tiling: tpu_tiling.Tiling
    offsets: Any
    first_example: Any
    query_block: Any
    key_block: Any

    @property
    def ahead(self) -> Any:
        """Position of the first query minus that of the first key, without offset."""
        t = self.tiling
        return self.query_block * t.query - self.key_block * t.key

    def offset(self, example: int) -> Any:
        """Returns the offset of an example of the program."""
        if not self.tiling.own_offset:
            return self.offsets[0]
        return self.offsets[self.first_example + example]

    def run(self, body: Callable[[Causal], None], skips: Any = True) -> None:
        """Runs `body` with the mask that the block needs, or skips the block.

        Args:
            body: takes the form of the causal mask.
            skips: whether the block may be skipped if all its keys come after all its
                queries, and no query comes before all keys.
        """
        t = self.tiling
        if not t.causal:
            body(Causal.NONE)
            return
        least = most = self.offset(0)
        if t.own_offset:
            for example in range(1, t.examples):
                least = jnp.minimum(least, self.offset(example))
                most = jnp.maximum(most, self.offset(example))
        diagonal = (least == 0) & (most == 0) & (self.ahead == 0)
        before = self.ahead + least >= t.key - 1
        after = self.ahead + most + t.query - 1 < 0
        if not t.masked:
            # If masked, the statistics also identify these queries.
            after &= least >= 0
        pl.when(diagonal)(lambda: body(Causal.DIAGONAL))
        done = diagonal | (after & skips)
        if t.query_blocks > 1:
            pl.when(before)(lambda: body(Causal.NONE))
            done |= before
        pl.when(jnp.logical_not(done))(lambda: body(Causal.ANY))

    def static_form(self) -> Causal | None:
        """Returns the form for static indices and offset 0, or None if skipped."""
        t = self.tiling
        if not t.causal or self.ahead >= t.key - 1:
            return Causal.NONE
        if self.ahead == 0:
            return Causal.DIAGONAL
        return None if self.ahead + t.query - 1 < 0 else Causal.ANY

    def chunks(self, column: int, causal: Causal) -> Iterator[tuple[int, int]]:
        """Yields ranges of keys that the queries starting at `column` attend to.

        Args:
            column: the first of the queries, within the block.
            causal: the form of the causal mask.
        """
        t = self.tiling
        stop = t.key
        if causal is Causal.DIAGONAL:
            stop = min(stop, column + t.columns)
        for start in range(0, stop, t.rows):
            yield start, min(start + t.rows, stop)

    def mask(
        self,
        example: int,
        column: int,
        start: int,
        stop: int,
        causal: Causal,
        query_segments: Any,
        key_segments: Any,
    ) -> jax.Array | None:
        """Returns bool [stop - start, columns], or None if no key is masked.

        Args:
            example: the index of the example in the program.
            column: the first query, within the block.
            start: the first key, within the block.
            stop: the end of the keys.
            causal: the form of the causal mask.
            query_segments: reference to [1 or examples, 1, queries], or None.
            key_segments: reference to [1 or examples, keys, 128], or None.
        """
        t = self.tiling
        shape = (stop - start, t.columns)
        masks = []
        if t.masked:
            own_queries, own_keys = t.own_segments
            row = query_segments[
                example if own_queries else 0, :, column : column + t.columns
            ]
            tile = key_segments[example if own_keys else 0, start:stop]
            masks.append(jnp.concatenate([tile] * (t.columns // _LANES), 1) == row)
        crosses = causal is Causal.DIAGONAL and stop - 1 > column
        if causal is Causal.ANY or crosses:
            ahead: Any = column - start
            if causal is Causal.ANY:
                ahead = ahead + self.ahead + self.offset(example)
            lead = jax.lax.broadcasted_iota(jnp.int32, (1, t.columns), 1) + ahead
            masks.append(jax.lax.broadcasted_iota(jnp.int32, shape, 0) <= lead)
        return masks[0] & masks[1] if len(masks) > 1 else (masks or [None])[0]

    def padding(self, start: int, stop: int) -> jax.Array | None:
        """Returns bool [stop - start, columns], False for padding; None without.

        Args:
            start: the first key, within the block.
            stop: the end of the keys.
        """
        t = self.tiling
        in_last = t.num_keys - (t.key_blocks - 1) * t.key
        if stop <= in_last:
            return None
        limit = t.num_keys - start
        if t.key_blocks > 1:
            limit = limit - self.key_block * t.key
        shape = (stop - start, t.columns)
        return jax.lax.broadcasted_iota(jnp.int32, shape, 0) < limit


def band_tile(band_ref: Any, t: Any, head: int, column: int, rows: Any) -> jax.Array:
    """Returns the bias [stop - start, columns] of the keys `rows` = (start, stop).

    Args:
        band_ref: reference to the bands of the tile's heads.
        t: the tiling.
        head: the index of the head in the tile.
        column: the first query, within the block.
        rows: the range of keys, within the block.
    """
    tiles = []
    for row in range(*rows, _LANES):
        x = tpu_band.window(row, column, t.key)
        tiles.append(band_ref[head, :, x : x + t.columns])
    return tiles[0] if len(tiles) == 1 else jnp.concatenate(tiles, axis=0)


def prepare_band(block: Block, vector_ref: Any, band_ref: Any, is_first: Any) -> None:
    """Builds the block's bands, unless those of the last program can be reused.

    Args:
        block: the block of the program.
        vector_ref: reference to the bias vectors.
        band_ref: scratch for the bands.
        is_first: whether this is the first program with these heads and blocks.
    """
    t = block.tiling

    def build() -> None:
        start = block.ahead + t.keys - t.key
        if isinstance(start, int):
            vector = vector_ref[:, start : start + t.diagonals]
        else:
            start = pl.multiple_of(start, _LANES)
            vector = vector_ref[:, pl.ds(start, t.diagonals)]
        tpu_band.build(band_ref, vector)

    if t.own_bias or t.key_blocks > 1:
        build()
    else:
        pl.when(is_first)(build)


def prepare_segments(t: Any, segments_ref: Any, column_ref: Any) -> None:
    """Converts key segments [n, 1, keys] to columns, repeated in all lanes.

    Args:
        t: the tiling.
        segments_ref: reference to the segments.
        column_ref: scratch [n, keys, 128].
    """
    for example in range(segments_ref.shape[0]):
        for start in range(0, t.key, _LANES):
            row = segments_ref[example, :, start : start + _LANES]
            tile = jnp.broadcast_to(row, (_LANES, _LANES)).T
            column_ref[example, start : start + _LANES] = tile


def only_head(x: jax.Array, t: Any, head: int) -> jax.Array:
    """Returns x [n, lanes] with zeros in the lanes of other heads.

    Args:
        x: [n, lanes].
        t: the tiling.
        head: the index of the head in the tile.
    """
    if t.heads == 1:
        return x
    mask = lanes.head_mask(head, t.width)
    return jnp.where(mask, x.astype(jnp.float32), 0.0).astype(x.dtype)


def head_rows(x: jax.Array, t: Any, head: int) -> jax.Array:
    """Returns the rows of a head from a transposed tile [lanes, n].

    Args:
        x: [lanes, n].
        t: the tiling.
        head: the index of the head in the tile.
    """
    return x[head * t.width : (head + 1) * t.width]


def transpose(x: jax.Array, dtype: Any) -> jax.Array:
    """Returns the transpose of x in a dtype; 16-bit types go through float32."""
    return x.astype(jnp.float32).T.astype(dtype)


def nothing_attended(log_sum_exp: jax.Array) -> jax.Array:
    """Returns which queries attend to no key, given their maximum or log-sum-exp."""
    return log_sum_exp <= 0.5 * reference.MASKED_LOGIT


def over_rows(x: jax.Array, reduce: Callable[..., jax.Array]) -> jax.Array:
    """Reduces [n, columns] to [8, columns], over every eighth row.

    Args:
        x: [n, columns].
        reduce: a function such as `jnp.sum`.
    """
    return reduce(x.reshape(x.shape[0] // 8, 8, x.shape[1]), axis=0)
