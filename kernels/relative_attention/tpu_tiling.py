"""Tiling and operand layouts of the Pallas relative attention kernels."""

import dataclasses
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.relative_attention import blocks
from clinometer.kernels.relative_attention import tpu_band
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# A head's lanes are the rows of a product with 128 rows of weights. With fewer lanes
# than this, loading the weights would take longer than the product.
_LEAST_WIDTH = 32


@dataclasses.dataclass(frozen=True)
class Products:
    """Sizes of a pass's products of logits, with the fewest simulated cycles.

    Attributes:
        columns: most queries of a product.
        rows: most keys of a product.
        ahead: logits that are computed before those of an earlier product are used.
    """

    columns: int
    rows: int
    ahead: int


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The tiling of a call into blocks of queries and keys, with padded shapes.

    Attributes:
        batch: B.
        groups: groups of the bias gradient; 1 in the forward pass.
        num_queries: T, without padding.
        num_keys: S, without padding.
        num_heads: H, without padding.
        width: lanes per head.
        examples: examples per program.
        query: queries per block.
        key: keys per block.
        products: the sizes of products of logits.
        causal: whether keys after the query are masked.
        masked: whether keys of other segments are masked.
        own_segments: whether each example has its own query and key segments.
        own_offset: whether each example has its own offset.
        has_bias: whether there is a bias.
        own_bias: whether each example has its own bias.
    """

    batch: int
    groups: int
    num_queries: int
    num_keys: int
    num_heads: int
    width: int
    examples: int
    query: int
    key: int
    products: Products
    causal: bool
    masked: bool
    own_segments: tuple[bool, bool]
    own_offset: bool
    has_bias: bool
    own_bias: bool

    @property
    def heads(self) -> int:
        """Heads per tile of lanes."""
        return lanes.heads_per_tile(self.width)

    @property
    def lanes(self) -> int:
        """Lanes per tile."""
        return lanes.tile_lanes(self.width)

    @property
    def tiles(self) -> int:
        """Number of tiles of lanes."""
        return -(-self.num_heads // self.heads)

    @property
    def query_blocks(self) -> int:
        """Number of blocks of queries."""
        return -(-self.num_queries // self.query)

    @property
    def key_blocks(self) -> int:
        """Number of blocks of keys."""
        return -(-self.num_keys // self.key)

    @property
    def is_one_block(self) -> bool:
        """Whether all queries and keys are in one block."""
        return self.query_blocks == self.key_blocks == 1

    @property
    def queries(self) -> int:
        """Number of queries with padding."""
        return self.query_blocks * self.query

    @property
    def keys(self) -> int:
        """Number of keys with padding."""
        return self.key_blocks * self.key

    @property
    def columns(self) -> int:
        """Queries per product of logits."""
        return _largest(self.query, self.products.columns)

    @property
    def rows(self) -> int:
        """Keys per product of logits."""
        return _largest(self.key, self.products.rows)

    @property
    def diagonals(self) -> int:
        """Length of a block's bias vector: its queries plus its keys."""
        return self.query + self.key


def tiling(
    pass_name: str,
    query: Any,
    key: Any,
    bias: Any,
    query_segments: Any,
    key_segments: Any,
    offset: Any,
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> Tiling:
    """Returns the tiling of a pass for the current chip.

    Args:
        pass_name: "forward" or "backward".
        query: the operand or its shape, as are the next five.
        key: see `specs.py`.
        bias: see `specs.py`.
        query_segments: see `specs.py`.
        key_segments: see `specs.py`.
        offset: see `specs.py`.
        causal: whether keys after the query are masked.
        masked: whether keys of other segments are masked.
        groups: groups of the bias gradient; 1 in the forward pass.

    Raises:
        ValueError: if requested block sizes do not fit.
    """
    batch, num_queries, num_heads, width = query.shape
    num_keys = key.shape[1]
    width = lanes.padded_width(max(width, _LEAST_WIDTH))
    own_bias = bias.shape[0] > 1
    made = None
    for smaller in (1, 2, 4):
        found = blocks.choose(
            pass_name,
            batch=batch // groups,
            num_queries=num_queries,
            num_keys=num_keys,
            heads=lanes.heads_per_tile(width),
            causal=causal,
            shares_bias=not own_bias,
            smaller=smaller,
        )
        assert found.batch and found.query and found.key
        made = Tiling(
            batch=batch,
            groups=groups,
            num_queries=num_queries,
            num_keys=num_keys,
            num_heads=num_heads,
            width=width,
            examples=found.batch,
            query=found.query,
            key=found.key,
            products=_products(pass_name),
            causal=causal,
            masked=masked,
            own_segments=(query_segments.shape[0] > 1, key_segments.shape[0] > 1),
            own_offset=offset.shape[0] > 1,
            has_bias=bias.shape[2] > 0,
            own_bias=own_bias,
        )
        # The compiler needs some itself.
        if vmem_bytes(made, pass_name, query.dtype) < 0.75 * _vmem_capacity():
            break
    assert made
    return made


def _products(pass_name: str) -> Products:
    if pass_name == "backward":
        return Products(columns=256, rows=256, ahead=1 << 16)
    # The weights of as many keys as a matrix unit holds.
    rows = wrap.chip().info.mxu_column_size
    return Products(columns=512, rows=rows, ahead=2 * 512 * rows)


def _largest(size: int, most: int) -> int:
    """Returns the largest multiple of 128 up to `most` that divides `size`."""
    return next(n for n in range(most, 0, -lanes.LANES) if size % n == 0)


def _vmem_capacity() -> int:
    return wrap.chip().info.vmem_capacity_bytes


def check_fits(made: Tiling, pass_name: str, dtype: Any) -> None:
    """Raises ValueError if a program needs more VMEM than the current chip has.

    Args:
        made: the tiling.
        pass_name: "forward" or "backward".
        dtype: the dtype of query, key and value.
    """
    needed = vmem_bytes(made, pass_name, dtype)
    if needed > _vmem_capacity():
        raise ValueError(
            f"AttentionBlocks: query={made.query}, key={made.key}, "
            f"batch={made.examples} need about {needed >> 20} MiB of VMEM in the "
            f"{pass_name} pass, TPU {wrap.chip().name} has {_vmem_capacity() >> 20}; "
            "use smaller sizes"
        )


def vmem_limit_bytes(tiling: Tiling, pass_name: str, dtype: Any) -> int:
    """Returns the bytes of VMEM to request, with a margin; see `check_fits`."""
    needed = vmem_bytes(tiling, pass_name, dtype)
    return min(2 * needed + (4 << 20), _vmem_capacity())


def vmem_bytes(tiling: Tiling, pass_name: str, dtype: Any) -> int:
    """Returns an estimate of the bytes of VMEM per program; see `check_fits`."""
    t, size = tiling, jnp.dtype(dtype).itemsize
    blocks_of = {"forward": (2, 2), "backward": (4, 4)}[pass_name]
    rows = blocks_of[0] * t.query + blocks_of[1] * t.key
    # Double-buffered.
    buffers = 2 * t.examples * rows * t.lanes * size
    # Logits, weights and the gradients of both, of the products that have begun.
    scores = 4 * (t.products.ahead + t.rows * t.columns) * 4
    # The vectors of the tile's heads take whole registers.
    band = t.heads * tpu_band.ROWS * t.diagonals * 4
    vector = 2 * max(8, t.heads) * (t.queries + t.keys) * 4
    sums = t.lanes * t.query * 4
    if pass_name == "backward":
        band, vector = 2 * band, 2 * vector
        sums = t.examples * t.lanes * (t.queries + 2 * t.key) * 4
    return buffers + scores + (band + vector) * t.has_bias + sums


def to_lanes(x: jax.Array, length: int) -> jax.Array:
    """Reshapes [B, S, H, D] to [B, length, lanes], padded with zeros."""
    if x.shape[3] < _LEAST_WIDTH:
        x = jnp.pad(x, ((0, 0),) * 3 + ((0, _LEAST_WIDTH - x.shape[3]),))
    return lanes.to_lanes(x, length)


def from_lanes(x: jax.Array, like: jax.Array) -> jax.Array:
    """Reshapes [B, length, lanes] to the shape of `like`, [B, S, H, D]."""
    _, length, num_heads, width = like.shape
    x = lanes.from_lanes(x, length, num_heads, max(width, _LEAST_WIDTH))
    return x[..., :width]


def rows_to_tiles(x: jax.Array, tiling: Tiling, fill: float) -> jax.Array:
    """Reshapes [B, H, T] to [B, tiles, heads, queries], padded with `fill`."""
    heads = tiling.tiles * tiling.heads - tiling.num_heads
    queries = tiling.queries - tiling.num_queries
    if heads or queries:
        padding = ((0, 0), (0, heads), (0, queries))
        x = jnp.pad(x, padding, constant_values=fill)
    return x.reshape(x.shape[0], tiling.tiles, tiling.heads, tiling.queries)


def rows_from_tiles(x: jax.Array, tiling: Tiling) -> jax.Array:
    """Reshapes [B, tiles, heads, queries] to [B, H, T]."""
    x = x.reshape(x.shape[0], -1, tiling.queries)
    return x[:, : tiling.num_heads, : tiling.num_queries]


def bias_vector(bias: jax.Array, tiling: Tiling) -> jax.Array:
    """Returns the vectors of `tpu_band`, [1 or B, tiles, heads, queries + keys]."""
    more = tiling.tiles * tiling.heads - tiling.num_heads
    vector = tpu_band.to_vector(bias, tiling.num_keys, tiling.queries, tiling.keys)
    vector = jnp.pad(vector, ((0, 0), (0, more), (0, 0)))
    return vector.reshape(bias.shape[0], tiling.tiles, tiling.heads, -1)


def segments(x: jax.Array, length: int) -> jax.Array:
    """Returns int32 segments as [1 or B, 1, length]."""
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1])))[:, None]


SCALARS = pl.BlockSpec(memory_space=pltpu.SMEM)


def offsets(offset: jax.Array, flag: jax.Array | int = 0) -> jax.Array:
    """Returns the offsets and a flag, int32 [(1 or B) + 1], for scalar memory.

    Used by causal calls. The compiler's simulator assumes zeros in scalar memory, and
    so estimates the cost of a call without offset; but not for an array of one element.
    """
    return jnp.pad(offset, (0, 1), constant_values=flag)


@dataclasses.dataclass(frozen=True)
class Specs:
    """Block specs for a grid.

    Attributes:
        tiling: the tiling of the call.
        place: maps grid indices to (example block, tile, query block, key block).
    """

    tiling: Tiling
    place: Any

    def rows(self, of: str) -> pl.BlockSpec:
        """Returns the spec of [B, queries or keys, lanes]; `of` is "query" or "key"."""
        t = self.tiling

        def index(*args: Any) -> tuple[Any, ...]:
            b, n, i, j = self.place(*args)
            return b, (i if of == "query" else j), n

        return pl.BlockSpec((t.examples, getattr(t, of), t.lanes), index)

    def rows_of_last_key_block(self) -> pl.BlockSpec:
        """Returns rows("query"), but written only at the last block of keys."""
        t = self.tiling

        def index(*args: Any) -> tuple[Any, ...]:
            b, n, i, j = self.place(*args)
            return b, jnp.where(j == t.key_blocks - 1, i, 0), n

        return pl.BlockSpec((t.examples, t.query, t.lanes), index)

    def statistics(self) -> pl.BlockSpec:
        """Returns the spec of [B, tiles, heads, queries]."""
        t = self.tiling

        def index(*args: Any) -> tuple[Any, ...]:
            b, n, i, _ = self.place(*args)
            return b, n, 0, i

        return pl.BlockSpec((t.examples, None, t.heads, t.query), index)

    def vector(self) -> pl.BlockSpec:
        """Returns the spec of [1 or B, tiles, heads, queries + keys]."""
        t = self.tiling

        def index(*args: Any) -> tuple[Any, ...]:
            b, n, _, _ = self.place(*args)
            return (b if t.own_bias else 0), n, 0, 0

        return pl.BlockSpec((None, None, t.heads, t.queries + t.keys), index)

    def segments(self, of: str) -> pl.BlockSpec:
        """Returns the spec of [1 or B, 1, queries or keys]; `of` as for `rows`."""
        t = self.tiling
        own = t.own_segments[of == "key"]

        def index(*args: Any) -> tuple[Any, ...]:
            b, _, i, j = self.place(*args)
            return (b if own else 0), 0, (i if of == "query" else j)

        return pl.BlockSpec((t.examples if own else 1, 1, getattr(t, of)), index)


def segment_operands(
    specs: Specs, query_segments: jax.Array, key_segments: jax.Array
) -> dict[str, tuple[jax.Array, pl.BlockSpec]]:
    """Returns both segments, padded to whole blocks, and their specs, by name."""
    of = {
        "query": (query_segments, specs.tiling.queries),
        "key": (key_segments, specs.tiling.keys),
    }
    return {
        f"{name}_segments": (segments(x, length), specs.segments(name))
        for name, (x, length) in of.items()
    }


def key_column(tiling: Tiling) -> Any:
    """Returns the scratch for the key segments, transposed to sublanes."""
    owners = tiling.examples if tiling.own_segments[1] else 1
    return pltpu.VMEM((owners, tiling.key, lanes.LANES), jnp.int32)
