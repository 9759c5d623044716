"""The forward pass of relative attention as a Pallas TPU kernel."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
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
_SUBLANES = 8
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
        rows = t.examples, t.heads
        scratch["maximum"] = pltpu.VMEM((*rows, t.query), jnp.float32)
        scratch["total"] = pltpu.VMEM((*rows, _SUBLANES, t.query), jnp.float32)
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
                _write([_Softmax(r, t, example, column, h) for h in range(t.heads)])


def _places(t: tpu_tiling.Tiling) -> list[tuple[int, int]]:
    columns = range(0, t.query, t.columns)
    return list(itertools.product(range(t.examples), columns))


def _attend(r: Any, block: tpu_tile.Block, causal: tpu_tile.Causal) -> None:
    """Attends to the keys of one block."""
    t = block.tiling
    values = [
        tpu_tile.transpose(r.value[example], r.value.dtype)
        for example in range(t.examples)
    ]

    def end(step: _Step, logits: jax.Array) -> None:
        head = step.softmax
        rows = tpu_tile.head_rows(values[head.example], t, head.head)
        head.add(logits, rows[:, step.tile.keys])
        if step.done and t.key_blocks == 1:
            _write(step.done)
        else:
            for each in step.done:
                each.store()

    tpu_tile.overlapped(
        _steps(r, block, causal),
        lambda step: _logits(r, block, causal, step),
        end,
        lambda step: step.tile.size,
        t.products.ahead,
    )


@dataclasses.dataclass(frozen=True)
class _Step:
    """A tile of logits of one head.

    Attributes:
        softmax: the softmax of the head.
        tile: the place in the block.
        done: after the last tile of a group of queries, the softmax of all heads.
    """

    softmax: "_Softmax"
    tile: tpu_tile.Tile
    done: Sequence["_Softmax"]


def _steps(r: Any, block: tpu_tile.Block, causal: tpu_tile.Causal) -> Iterator[_Step]:
    """Yields all tiles, with the heads in turn: each waits for its last maximum."""
    t = block.tiling
    for example, column in _places(t):
        heads = [_Softmax(r, t, example, column, head) for head in range(t.heads)]
        tiles = list(block.tiles(column, causal))
        for tile, head in itertools.product(tiles, heads):
            is_last = tile is tiles[-1] and head is heads[-1]
            yield _Step(head, tile, heads if is_last else ())


def _logits(
    r: Any, block: tpu_tile.Block, causal: tpu_tile.Causal, step: _Step
) -> jax.Array:
    """Returns the logits of a tile, [keys, queries]."""
    t, tile = block.tiling, step.tile
    example, head = step.softmax.example, step.softmax.head
    logits = jax.lax.dot_general(
        r.key[example, tile.keys],
        tpu_tile.only_head(r.query[example, tile.queries], t, head),
        tpu_tile.BY_LAST,
        preferred_element_type=jnp.float32,
    )
    if t.has_bias:
        logits += tpu_tile.band_tile(r.band, t, head, tile)
    logits = block.where_attended(
        tile, causal, logits, reference.MASKED_LOGIT, example, r
    )
    real = block.padding(tile)
    if real is not None:
        logits = jnp.where(real, logits, tpu_tile.PADDING_LOGIT)
    return logits


class _Softmax:
    """The softmax of a group of queries of one head over the keys so far."""

    def __init__(
        self, r: Any, t: tpu_tiling.Tiling, example: int, column: int, head: int
    ):
        self.r, self.t = r, t
        self.example, self.column, self.head = example, column, head
        self.columns = slice(column, column + t.columns)
        self.maximum: Any = None  # [1, columns]
        self.total: Any = None  # [8, columns], sums over every eighth key
        self.weighted: Any = None  # [width, columns]
        if t.key_blocks > 1:
            self.maximum = r.maximum[self._row]
            self.total = r.total[self._total]
            self.weighted = r.sum[self._rows]

    @property
    def _row(self) -> Any:
        return self.example, slice(self.head, self.head + 1), self.columns

    @property
    def _total(self) -> Any:
        return self.example, self.head, slice(None), self.columns

    @property
    def _rows(self) -> Any:
        rows = slice(self.head * self.t.width, (self.head + 1) * self.t.width)
        return self.example, rows, self.columns

    def add(self, logits: jax.Array, values: jax.Array) -> None:
        """Adds keys of which only the last queries may have logits.

        Args:
            logits: [keys, queries].
            values: [width, keys].
        """
        most = jnp.max(logits, axis=0, keepdims=True)
        rest = self.columns.stop - self.columns.start - logits.shape[1]
        if self.maximum is None:
            maximum = self.maximum = jnp.maximum(most, _NO_MAXIMUM)
        else:
            old = self.maximum[:, rest:]
            maximum = jnp.maximum(old, most)
            scale = jnp.exp(old - maximum)
            self.maximum = _joined(self.maximum, maximum)
        weights = jnp.exp(logits - maximum)
        total = tpu_tile.over_rows(weights, jnp.sum)
        product = jnp.dot(
            values, weights.astype(values.dtype), preferred_element_type=jnp.float32
        )
        if self.total is None:
            self.total, self.weighted = total, product
        else:
            self.total = _joined(self.total, self.total[:, rest:] * scale + total)
            self.weighted = _joined(
                self.weighted, self.weighted[:, rest:] * scale + product
            )

    def store(self) -> None:
        """Keeps the sums for the next block of keys."""
        self.r.maximum[self._row] = self.maximum
        self.r.total[self._total] = self.total
        self.r.sum[self._rows] = self.weighted

    def finish(self) -> jax.Array:
        """Returns the output [width, columns], and writes its log-sum-exp."""
        r, t = self.r, self.t
        total = jnp.sum(self.total, axis=0, keepdims=True)
        log_sum_exp = self.maximum + jnp.log(total)
        output = self.weighted * (1.0 / total)
        if t.masked or t.causal:
            # The maximum may ignore NaN, but the total does not.
            nothing = tpu_tile.nothing_attended(self.maximum) & (total == total)
            log_sum_exp = jnp.where(nothing, reference.MASKED_LOGIT, log_sum_exp)
            if t.masked and t.causal:
                mean = jnp.broadcast_to(r.mean[self.example], (_LANES, t.lanes)).T
                mean = tpu_tile.head_rows(mean, t, self.head)
                mean = jnp.concatenate([mean] * (t.columns // _LANES), axis=1)
                output = jnp.where(nothing, mean, output)
        r.log_sum_exp[self._row] = log_sum_exp
        return output


def _joined(x: jax.Array, last: jax.Array) -> jax.Array:
    """Returns x with its last columns replaced by `last`."""
    rest = x.shape[1] - last.shape[1]
    return jnp.concatenate([x[:, :rest], last], axis=1) if rest else last


def _write(heads: Sequence[_Softmax]) -> None:
    """Writes the output of a group of queries."""
    r, t, example = heads[0].r, heads[0].t, heads[0].example
    outputs = [head.finish() for head in heads]
    output = outputs[0] if t.heads == 1 else jnp.concatenate(outputs, axis=0)
    r.output[example, heads[0].columns] = tpu_tile.transpose(output, r.output.dtype)
