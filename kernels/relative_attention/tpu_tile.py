"""One block of transposed logits in VMEM: head masks, bias and attention masks.

Keys are along sublanes and queries along lanes. Sums and maxima over keys are then
plain vector operations, statistics of queries are dense rows, and weights are the
stationary operand of the matrix units, past which the rows of a head move. A head of
width 64 therefore fills the units, except in products that contract over its width.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import enum
from typing import Any
from typing import TypeVar

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

Step, Result = TypeVar("Step"), TypeVar("Result")


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

    def run(
        self, body: Callable[[Causal], None], skips: Any, has_diagonal: Any = True
    ) -> None:
        """Runs `body` with the mask that the block needs, or skips the block.

        Args:
            body: takes the form of the causal mask.
            skips: whether the block may be skipped if all its keys come after all its
                queries, and no query comes before all keys.
            has_diagonal: whether tiles above the diagonal may be skipped.
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
        diagonal = (least == 0) & (most == 0) & (self.ahead == 0) & has_diagonal
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

    def tiles(self, column: int, causal: Causal) -> Iterator["Tile"]:
        """Yields the logits of a group of queries, without tiles above the diagonal.

        Args:
            column: the first of the queries, within the block.
            causal: the form of the causal mask.
        """
        t = self.tiling
        end, stop = column + t.columns, t.key
        if causal is Causal.DIAGONAL:
            stop = min(stop, column + _LANES)
        for start in range(0, stop, t.rows):
            yield Tile(column, end, start, min(start + t.rows, stop))
        if causal is Causal.DIAGONAL:
            for start in range(column + _LANES, min(end, t.key), _LANES):
                yield Tile(start, end, start, start + _LANES)

    def where_attended(
        self,
        tile: "Tile",
        causal: Causal,
        logits: jax.Array,
        masked: Any,
        example: int,
        r: Any,
    ) -> jax.Array:
        """Returns a tile [keys, queries] with `masked` where the mask is False.

        Args:
            tile: the place of the tile in the block.
            causal: the form of the causal mask.
            logits: [keys, queries].
            masked: the value of masked keys.
            example: the index of the example in the program.
            r: the references of the program.
        """
        if causal is Causal.DIAGONAL and not self.tiling.masked:
            # Only the last rows of a tile cross the diagonal, in its first columns.
            row, column = tile.first - tile.start, _LANES
            if row >= logits.shape[0]:
                return logits
            corner = logits[row:, :column]
            key = jax.lax.broadcasted_iota(jnp.int32, corner.shape, 0)
            query = jax.lax.broadcasted_iota(jnp.int32, corner.shape, 1)
            corner = jnp.where(key <= query, corner, masked)
            if logits.shape[1] > column:
                corner = jnp.concatenate([corner, logits[row:, column:]], axis=1)
            return jnp.concatenate([logits[:row], corner]) if row else corner
        mask = self.mask(tile, causal, example, r)
        return logits if mask is None else jnp.where(mask, logits, masked)

    def mask(
        self, tile: "Tile", causal: Causal, example: int, r: Any
    ) -> jax.Array | None:
        """Returns bool [keys, queries], or None if no key is masked.

        Args:
            tile: the place of the tile in the block.
            causal: the form of the causal mask.
            example: the index of the example in the program.
            r: the references of the program.
        """
        t = self.tiling
        masks = []
        if t.masked:
            own_queries, own_keys = t.own_segments
            row = r.query_segments[example if own_queries else 0, :, tile.queries]
            keys = r.key_column[example if own_keys else 0, tile.keys]
            masks.append(jnp.concatenate([keys] * (tile.width // _LANES), 1) == row)
        crosses = causal is Causal.DIAGONAL and tile.stop - 1 > tile.first
        if causal is Causal.ANY or crosses:
            ahead: Any = tile.first - tile.start
            if causal is Causal.ANY:
                ahead = ahead + self.ahead + self.offset(example)
            shape = tile.stop - tile.start, tile.width
            lead = jax.lax.broadcasted_iota(jnp.int32, (1, tile.width), 1) + ahead
            masks.append(jax.lax.broadcasted_iota(jnp.int32, shape, 0) <= lead)
        return masks[0] & masks[1] if len(masks) > 1 else (masks or [None])[0]

    def padding(self, tile: "Tile") -> jax.Array | None:
        """Returns bool [keys, queries], False for padding; None without.

        Args:
            tile: the place of the tile in the block.
        """
        t = self.tiling
        in_last = t.num_keys - (t.key_blocks - 1) * t.key
        if tile.stop <= in_last:
            return None
        limit = t.num_keys - tile.start
        if t.key_blocks > 1:
            limit = limit - self.key_block * t.key
        shape = (tile.stop - tile.start, tile.width)
        return jax.lax.broadcasted_iota(jnp.int32, shape, 0) < limit


@dataclasses.dataclass(frozen=True)
class Tile:
    """A place in a block of transposed logits; all bounds are multiples of 128.

    Attributes:
        first: the first query.
        end: the end of the queries.
        start: the first key.
        stop: the end of the keys.
    """

    first: int
    end: int
    start: int
    stop: int

    @property
    def queries(self) -> slice:
        """The queries."""
        return slice(self.first, self.end)

    @property
    def keys(self) -> slice:
        """The keys."""
        return slice(self.start, self.stop)

    @property
    def width(self) -> int:
        """The number of queries."""
        return self.end - self.first

    @property
    def size(self) -> int:
        """The number of logits."""
        return self.width * (self.stop - self.start)


def overlapped(
    steps: Iterable[Step],
    begin: Callable[[Step], Result],
    end: Callable[[Step, Result], None],
    size: Callable[[Step], int],
    ahead: int,
) -> None:
    """Calls `begin` on all steps, and `end` on each of them some steps later.

    The compiler roughly keeps the order of instructions. With the products of the next
    steps in between, the units need not wait for the vector work on one step.

    Args:
        steps: the steps in order, made when they begin.
        begin: makes the result that `end` takes.
        end: completes a step.
        size: returns the number of logits of a step.
        ahead: the number of logits that have begun, after a step, before it ends.
    """
    begun: collections.deque[tuple[Step, Result]] = collections.deque()
    waiting = 0  # Logits of all but the first.
    for step in steps:
        waiting += size(step) if begun else 0
        begun.append((step, begin(step)))
        while waiting >= ahead:
            end(*begun.popleft())
            waiting -= size(begun[0][0])
    for step, result in begun:
        end(step, result)


def band_tile(band_ref: Any, t: Any, head: int, tile: Tile) -> jax.Array:
    """Returns the bias [keys, queries] of a tile.

    Args:
        band_ref: reference to the bands of the tile's heads.
        t: the tiling.
        head: the index of the head in its tile of lanes.
        tile: the place of the tile in the block.
    """
    tiles = []
    for row in range(tile.start, tile.stop, _LANES):
        x = tpu_band.window(row, tile.first, t.key)
        tiles.append(band_ref[head, :, x : x + tile.width])
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
