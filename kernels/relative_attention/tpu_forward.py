"""The forward pass of relative attention as a Pallas TPU kernel."""

import functools
import itertools
import types
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.relative_attention import reference
from clinometer.kernels.relative_attention import tpu_band
from clinometer.kernels.relative_attention import tpu_tile
from clinometer.kernels.relative_attention import tpu_tiling
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_LANES = lanes.LANES
_NO_MAXIMUM = -3.4e38  # Less than every logit, including padding.


def forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    query_segments: jax.Array,
    key_segments: jax.Array,
    offset: jax.Array,
    multiplier: jax.Array,
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array]:
    """See `reference.forward`."""
    del multiplier, groups
    t = tpu_tiling.tiling(
        "forward",
        query,
        key,
        bias,
        query_segments,
        key_segments,
        offset,
        causal=causal,
        masked=masked,
        groups=1,
    )
    tpu_tiling.check_fits(t, "forward", query.dtype)
    specs = tpu_tiling.Specs(t, lambda n, i, b, j: (b, n, i, j))
    operands = {
        "query": (tpu_tiling.to_lanes(query, t.queries), specs.rows("query")),
        "key": (tpu_tiling.to_lanes(key, t.keys), specs.rows("key")),
        "value": (tpu_tiling.to_lanes(value, t.keys), specs.rows("key")),
    }
    scratch: dict[str, Any] = {}
    if t.has_bias:
        operands["vector"] = (tpu_tiling.bias_vector(bias, t), specs.vector())
        band = (t.heads, tpu_band.ROWS, t.diagonals - tpu_band.ROWS)
        scratch["band"] = pltpu.VMEM(band, jnp.float32)
    if causal:
        operands["offsets"] = (tpu_tiling.offsets(offset), tpu_tiling.SCALARS)
    if masked:
        operands |= tpu_tiling.segment_operands(specs, query_segments, key_segments)
        scratch["key_column"] = tpu_tiling.key_column(t)
    if causal and masked:
        # Queries with no key to attend to get the mean of all values, including those
        # of skipped blocks.
        mean = jnp.mean(value, axis=1, keepdims=True, dtype=jnp.float32)
        index = pl.BlockSpec((t.examples, 1, t.lanes), lambda n, i, b, j: (b, 0, n))
        operands["mean"] = (tpu_tiling.to_lanes(mean, 1), index)
    if t.key_blocks > 1:
        statistics = pltpu.VMEM((t.examples, t.heads, t.query), jnp.float32)
        scratch["maximum"] = scratch["total"] = statistics
        scratch["sum"] = pltpu.VMEM((t.examples, t.lanes, t.query), jnp.float32)
    names = (*operands, "output", "log_sum_exp", *scratch)
    output, log_sum_exp = wrap.call(
        functools.partial(_kernel, t, names),
        "relative_attention_forward",
        grid=(t.tiles, t.query_blocks, t.batch // t.examples, t.key_blocks),
        in_specs=[spec for _, spec in operands.values()],
        out_specs=[specs.rows("query"), specs.statistics()],
        scratch_shapes=list(scratch.values()),
        out_shape=[
            jax.ShapeDtypeStruct(operands["query"][0].shape, query.dtype),
            jax.ShapeDtypeStruct((t.batch, t.tiles, t.heads, t.queries), jnp.float32),
        ],
        dimension_semantics=("parallel", "arbitrary", "arbitrary", "arbitrary"),
        vmem_limit_bytes=tpu_tiling.vmem_limit_bytes(t, "forward", query.dtype),
    )(*(x for x, _ in operands.values()))
    return (
        tpu_tiling.from_lanes(output, query),
        tpu_tiling.rows_from_tiles(log_sum_exp, t),
    )


def _kernel(t: tpu_tiling.Tiling, names: tuple[str, ...], *refs: Any) -> None:
    r = types.SimpleNamespace(**dict(zip(names, refs, strict=True)))
    examples, key_block = pl.program_id(2), pl.program_id(3)
    block = tpu_tile.Block(
        t,
        r.offsets if t.causal else None,
        first_example=examples * t.examples,
        query_block=pl.program_id(1) if t.query_blocks > 1 else 0,
        key_block=key_block if t.key_blocks > 1 else 0,
    )
    if t.has_bias:
        tpu_tile.prepare_band(block, r.vector, r.band, examples == 0)
    if t.masked:
        tpu_tile.prepare_segments(t, r.key_segments, r.key_column)
    if t.key_blocks > 1:

        @pl.when(key_block == 0)
        def _() -> None:
            r.maximum[...] = jnp.full(r.maximum.shape, _NO_MAXIMUM, jnp.float32)
            r.total[...] = jnp.zeros(r.total.shape, jnp.float32)
            r.sum[...] = jnp.zeros(r.sum.shape, jnp.float32)

    block.run(functools.partial(_attend, r, block), skips=t.key_blocks > 1)
    if t.key_blocks > 1:

        @pl.when(key_block == t.key_blocks - 1)
        def _() -> None:
            for example, column in _places(t):
                columns = slice(column, column + t.columns)
                heads = []
                for head in range(t.heads):
                    row = r.maximum[example, head : head + 1, columns]
                    total = r.total[example, head : head + 1, columns]
                    weighted = tpu_tile.head_rows(r.sum.at[example], t, head)
                    place = example, column, head
                    heads.append(_finish(r, t, place, row, total, weighted[:, columns]))
                _write(r, t, example, column, heads)


def _places(t: tpu_tiling.Tiling) -> list[tuple[int, int]]:
    columns = range(0, t.query, t.columns)
    return list(itertools.product(range(t.examples), columns))


def _attend(r: Any, block: tpu_tile.Block, causal: tpu_tile.Causal) -> None:
    """Attends to the keys of one block.

    The vector work on some columns of logits is interleaved with the products of the
    next columns: the compiler roughly keeps this order, so both run in parallel.
    """
    t = block.tiling
    values = [
        tpu_tile.transpose(r.value[example], r.value.dtype)
        for example in range(t.examples)
    ]
    previous = None
    heads: list[jax.Array] = []
    for place in (*itertools.product(_places(t), range(t.heads)), None):
        current = None
        if place is not None:
            (example, column), head = place
            current = _Columns(r, block, causal, values, example, column, head)
        for _ in range(0, t.key, t.rows):
            if current:
                current.add_logits()
            if previous:
                previous.add_values()
        if previous:
            heads.append(previous.finish())
            if len(heads) == t.heads:
                if t.key_blocks == 1:
                    _write(r, t, previous.example, previous.column, heads)
                heads = []
        previous = current


class _Columns:
    """A group of queries of one head."""

    def __init__(
        self,
        r: Any,
        block: tpu_tile.Block,
        causal: tpu_tile.Causal,
        values: list[jax.Array],
        example: int,
        column: int,
        head: int,
    ):
        t = block.tiling
        self.r, self.block, self.causal = r, block, causal
        self.example, self.column, self.head = example, column, head
        self.columns = slice(column, column + t.columns)
        self.query = tpu_tile.only_head(r.query[example, self.columns], t, head)
        self.values = tpu_tile.head_rows(values[example], t, head)
        self.todo = list(block.chunks(column, causal))
        self.logits: list[tuple[int, int, jax.Array]] = []
        self.most: jax.Array | None = None
        self.maximum: jax.Array | None = None
        self.total: Any = 0.0
        self.weighted: Any = 0.0

    def add_logits(self) -> None:
        """Computes the logits of the next keys, if any are left."""
        if not self.todo:
            return
        r, t = self.r, self.block.tiling
        start, stop = self.todo.pop(0)
        logits = jax.lax.dot_general(
            r.key[self.example, start:stop],
            self.query,
            tpu_tile.BY_LAST,
            preferred_element_type=jnp.float32,
        )
        if t.has_bias:
            rows = start, stop
            logits += tpu_tile.band_tile(r.band, t, self.head, self.column, rows)
        mask = self.block.mask(
            self.example,
            self.column,
            start,
            stop,
            self.causal,
            r.query_segments if t.masked else None,
            r.key_column if t.masked else None,
        )
        if mask is not None:
            logits = jnp.where(mask, logits, reference.MASKED_LOGIT)
        real = self.block.padding(start, stop)
        if real is not None:
            logits = jnp.where(real, logits, tpu_tile.PADDING_LOGIT)
        most = tpu_tile.over_rows(logits, jnp.max)
        self.most = most if self.most is None else jnp.maximum(self.most, most)
        self.logits.append((start, stop, logits))

    def add_values(self) -> None:
        """Adds the weighted values of the next keys, if any are left."""
        if not self.logits:
            return
        if self.maximum is None:
            self.maximum = jnp.max(self.most, axis=0, keepdims=True)
            if self.block.tiling.key_blocks > 1:
                self._carry()
        start, stop, logits = self.logits.pop(0)
        weights = jnp.exp(logits - self.maximum)
        self.total += tpu_tile.over_rows(weights, jnp.sum)
        self.weighted += jnp.dot(
            self.values[:, start:stop],
            weights.astype(self.values.dtype),
            preferred_element_type=jnp.float32,
        )

    def _carry(self) -> None:
        """Merges the maximum of earlier blocks of keys."""
        old = self.r.maximum[self.example, self.head : self.head + 1, self.columns]
        self.maximum = jnp.maximum(self.maximum, old)
        self.scale = jnp.exp(old - self.maximum)

    def finish(self) -> jax.Array | None:
        """Returns the output [width, columns]; None if more blocks of keys follow."""
        t, r = self.block.tiling, self.r
        total = jnp.sum(self.total, axis=0, keepdims=True)
        place = self.example, self.column, self.head
        if t.key_blocks == 1:
            return _finish(r, t, place, self.maximum, total, self.weighted)
        row = self.example, slice(self.head, self.head + 1), self.columns
        r.maximum[row] = self.maximum
        r.total[row] = r.total[row] * self.scale + total
        rows = slice(self.head * t.width, (self.head + 1) * t.width)
        rows = self.example, rows, self.columns
        r.sum[rows] = r.sum[rows] * self.scale + self.weighted
        return None


def _finish(
    r: Any,
    t: tpu_tiling.Tiling,
    place: tuple[int, int, int],
    maximum: jax.Array,
    total: jax.Array,
    weighted: jax.Array,
) -> jax.Array:
    """Returns the output [width, columns] of a head, and writes its log-sum-exp."""
    example, column, head = place
    log_sum_exp = maximum + jnp.log(total)
    output = weighted * (1.0 / total)
    if t.masked or t.causal:
        # The maximum may ignore NaN, but the total does not.
        nothing = tpu_tile.nothing_attended(maximum) & (total == total)
        log_sum_exp = jnp.where(nothing, reference.MASKED_LOGIT, log_sum_exp)
        if t.masked and t.causal:
            mean = jnp.broadcast_to(r.mean[example], (_LANES, t.lanes)).T
            mean = tpu_tile.head_rows(mean, t, head)
            mean = jnp.concatenate([mean] * (t.columns // _LANES), axis=1)
            output = jnp.where(nothing, mean, output)
    row = example, slice(head, head + 1), slice(column, column + t.columns)
    r.log_sum_exp[row] = log_sum_exp
    return output


def _write(
    r: Any, t: tpu_tiling.Tiling, example: int, column: int, heads: list[Any]
) -> None:
    output = heads[0] if t.heads == 1 else jnp.concatenate(heads, axis=0)
    r.output[example, column : column + t.columns] = tpu_tile.transpose(
        output, r.output.dtype
    )
