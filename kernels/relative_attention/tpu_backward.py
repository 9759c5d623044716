"""The backward pass of relative attention as a Pallas TPU kernel."""

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

from clinometer.kernels.relative_attention import tpu_band
from clinometer.kernels.relative_attention import tpu_tile
from clinometer.kernels.relative_attention import tpu_tiling
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_LANES = lanes.LANES
# The log-sum-exp of padding queries: it gives all keys a weight of 0.
_PADDING_LOG_SUM_EXP = 3e38


def backward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    query_segments: jax.Array,
    key_segments: jax.Array,
    offset: jax.Array,
    multiplier: jax.Array,
    output: jax.Array,
    log_sum_exp: jax.Array,
    output_grad: jax.Array,
    *,
    causal: bool,
    masked: bool,
    groups: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """See `reference.backward`."""
    del multiplier
    t = tpu_tiling.tiling(
        "backward",
        query,
        key,
        bias,
        query_segments,
        key_segments,
        offset,
        causal=causal,
        masked=masked,
        groups=groups,
    )
    tpu_tiling.check_fits(t, "backward", query.dtype)
    steps = t.batch // groups // t.examples
    specs = tpu_tiling.Specs(t, lambda n, g, b, j, i: (g * steps + b, n, i, j))
    by_query, by_key = specs.rows("query"), specs.rows("key")
    operands = {
        "query": (tpu_tiling.to_lanes(query, t.queries), by_query),
        "key": (tpu_tiling.to_lanes(key, t.keys), by_key),
        "value": (tpu_tiling.to_lanes(value, t.keys), by_key),
        "output": (tpu_tiling.to_lanes(output, t.queries), by_query),
        "output_grad": (tpu_tiling.to_lanes(output_grad, t.queries), by_query),
        "log_sum_exp": (
            tpu_tiling.rows_to_tiles(log_sum_exp, t, _PADDING_LOG_SUM_EXP),
            specs.statistics(),
        ),
    }
    results = {
        "query_grad": (operands["query"][0], specs.rows_of_last_key_block()),
        "key_grad": (operands["key"][0], by_key),
        "value_grad": (operands["value"][0], by_key),
    }
    scratch: dict[str, Any] = {}
    if t.has_bias:
        vector = tpu_tiling.bias_vector(bias, t)
        operands["vector"] = (vector, specs.vector())
        group = jax.ShapeDtypeStruct((groups, *vector.shape[1:]), jnp.float32)
        block = pl.BlockSpec(
            (None, None, *vector.shape[2:]), lambda n, g, b, j, i: (g, n, 0, 0)
        )
        results["vector_grad"] = (group, block)
        band = (t.heads, tpu_band.ROWS, t.diagonals - tpu_band.ROWS)
        scratch["band"] = scratch["band_grad"] = pltpu.VMEM(band, jnp.float32)
    if causal:
        flag: jax.Array | int = 0
        if masked:
            flag = jnp.any(tpu_tile.nothing_attended(log_sum_exp)).astype(jnp.int32)
        operands["offsets"] = (tpu_tiling.offsets(offset, flag), tpu_tiling.SCALARS)
    if masked:
        operands |= tpu_tiling.segment_operands(specs, query_segments, key_segments)
        scratch["key_column"] = tpu_tiling.key_column(t)
    if not t.is_one_block:
        for of, length in (("query", t.queries), ("key", t.key), ("value", t.key)):
            shape = (t.examples, t.lanes, length)
            scratch[f"{of}_sum"] = pltpu.VMEM(shape, jnp.float32)
    names = (*operands, *results, *scratch)
    query_grad, key_grad, value_grad, *rest = wrap.call(
        functools.partial(_kernel, t, names),
        "relative_attention_backward",
        grid=(t.tiles, groups, steps, t.key_blocks, t.query_blocks),
        in_specs=[spec for _, spec in operands.values()],
        out_specs=[spec for _, spec in results.values()],
        scratch_shapes=list(scratch.values()),
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x, _ in results.values()],
        dimension_semantics=("parallel", *["arbitrary"] * 4),
        vmem_limit_bytes=tpu_tiling.vmem_limit_bytes(t, "backward", query.dtype),
    )(*(x for x, _ in operands.values()))
    bias_grad = jnp.zeros((groups, *bias.shape[1:]), jnp.float32)
    if t.has_bias:
        heads = rest[0].reshape(groups, -1, t.queries + t.keys)[:, : t.num_heads]
        bias_grad = tpu_band.from_vector(heads, t.num_keys, t.keys, bias.shape[2])
    return (
        tpu_tiling.from_lanes(query_grad, query),
        tpu_tiling.from_lanes(key_grad, key),
        tpu_tiling.from_lanes(value_grad, value),
        bias_grad,
    )


def _kernel(t: tpu_tiling.Tiling, names: tuple[str, ...], *refs: Any) -> None:
    r = types.SimpleNamespace(**dict(zip(names, refs, strict=True)))
    group, examples = pl.program_id(1), pl.program_id(2)
    key_block, query_block = pl.program_id(3), pl.program_id(4)
    steps = t.batch // t.groups // t.examples
    block = tpu_tile.Block(
        t,
        r.offsets if t.causal else None,
        first_example=(group * steps + examples) * t.examples,
        query_block=query_block if t.query_blocks > 1 else 0,
        key_block=key_block if t.key_blocks > 1 else 0,
    )
    is_last = (key_block == t.key_blocks - 1) & (query_block == t.query_blocks - 1)
    if t.has_bias:
        is_first_example = examples == 0
        is_first = (key_block == 0) & (query_block == 0) & is_first_example
        tpu_tile.prepare_band(block, r.vector, r.band, (group == 0) & is_first_example)

        @pl.when(is_first)
        def _() -> None:
            r.vector_grad[...] = jnp.zeros(r.vector_grad.shape, jnp.float32)

        @pl.when(is_first if t.is_one_block else True)
        def _() -> None:
            r.band_grad[...] = jnp.zeros(r.band_grad.shape, jnp.float32)

    if t.masked:
        tpu_tile.prepare_segments(t, r.key_segments, r.key_column)
    columns = pl.ds(pl.multiple_of(query_block * t.query, _LANES), t.query)
    if not t.is_one_block:

        @pl.when(key_block == 0)
        def _() -> None:
            zeros = jnp.zeros((t.examples, t.lanes, t.query), jnp.float32)
            r.query_sum[:, :, columns] = zeros

        @pl.when(query_block == 0)
        def _() -> None:
            r.key_sum[...] = jnp.zeros(r.key_sum.shape, jnp.float32)
            r.value_sum[...] = jnp.zeros(r.value_sum.shape, jnp.float32)

    all_attend: Any = True
    if t.causal and t.masked:
        # Queries without a key also have a share in the values of skipped keys.
        all_attend = r.offsets[r.offsets.shape[0] - 1] == 0
    block.run(
        functools.partial(_differentiate, r, block, columns),
        all_attend & (not t.is_one_block),
        all_attend,
    )
    if not t.is_one_block:

        @pl.when(key_block == t.key_blocks - 1)
        def _() -> None:
            _write(r.query_grad, r.query_sum[:, :, columns])

        @pl.when(query_block == t.query_blocks - 1)
        def _() -> None:
            _write(r.key_grad, r.key_sum[...])
            _write(r.value_grad, r.value_sum[...])

    if t.has_bias:

        @pl.when((is_last & (examples == steps - 1)) if t.is_one_block else True)
        def _() -> None:
            start = block.ahead + t.keys - t.key
            window = slice(start, start + t.diagonals)
            if not isinstance(start, int):
                window = pl.ds(pl.multiple_of(start, _LANES), t.diagonals)
            for head in range(t.heads):
                row = slice(head, head + 1)
                r.vector_grad[row, window] += tpu_band.sums(r.band_grad[head])


def _write(ref: Any, sums: jax.Array) -> None:
    for example in range(sums.shape[0]):
        ref[example] = tpu_tile.transpose(sums[example], ref.dtype)


def _differentiate(
    r: Any, block: tpu_tile.Block, columns: Any, causal: tpu_tile.Causal
) -> None:
    """Adds one block's contribution to all gradients."""
    t = block.tiling

    def end(step: _Step, weighed: tuple[jax.Array, jax.Array]) -> None:
        step.head.add(step.tile, *weighed)
        if not step.done:
            return
        example = step.head.whole.example
        sums = [head.sums() for head in step.done]
        query, key, value = (jnp.concatenate(x, axis=0) for x in zip(*sums))
        if t.is_one_block:
            for ref, x in (
                (r.query_grad, query),
                (r.key_grad, key),
                (r.value_grad, value),
            ):
                ref[example] = tpu_tile.transpose(x, ref.dtype)
        else:
            r.query_sum[example, :, columns] += query
            r.key_sum[example] += key
            r.value_sum[example] += value

    tpu_tile.overlapped(
        _steps(r, block, causal),
        lambda step: step.head.weigh(step.tile),
        end,
        lambda step: step.tile.size,
        t.products.ahead,
    )


@dataclasses.dataclass(frozen=True)
class _Step:
    """A tile of logits of one head.

    Attributes:
        head: the gradients of the head.
        tile: the place in the block.
        done: after the last tile of an example, the gradients of all heads.
    """

    head: "_Head"
    tile: tpu_tile.Tile
    done: Sequence["_Head"]


def _steps(r: Any, block: tpu_tile.Block, causal: tpu_tile.Causal) -> Iterator[_Step]:
    t = block.tiling
    for example in range(t.examples):
        whole = _Transposed(r, example)
        heads = [_Head(r, block, whole, causal, head) for head in range(t.heads)]
        columns = range(0, t.query, t.columns)
        tiles = [x for column in columns for x in block.tiles(column, causal)]
        for head, tile in itertools.product(heads, tiles):
            is_last = head is heads[-1] and tile is tiles[-1]
            yield _Step(head, tile, heads if is_last else ())


class _Transposed:
    """The transposed operands of an example, [lanes, length]."""

    def __init__(self, r: Any, example: int):
        self.example = example
        dtype = r.query.dtype
        output_grad = tpu_tile.transpose(r.output_grad[example], jnp.float32)
        output = tpu_tile.transpose(r.output[example], jnp.float32)
        self.query = tpu_tile.transpose(r.query[example], dtype)
        self.key = tpu_tile.transpose(r.key[example], dtype)
        self.output_grad = output_grad.astype(dtype)
        self.change = output * output_grad


class _Head:
    """The gradients of query, key and value of one head of an example."""

    def __init__(
        self,
        r: Any,
        block: tpu_tile.Block,
        whole: _Transposed,
        causal: tpu_tile.Causal,
        head: int,
    ):
        t = block.tiling
        self.r, self.block, self.whole = r, block, whole
        self.causal, self.head = causal, head
        change = tpu_tile.head_rows(whole.change, t, head)
        self.mean = jnp.sum(change, axis=0, keepdims=True)
        self.query_grad: dict[int, Any] = {}  # By columns and rows of 128.
        self.key_grad: dict[int, Any] = {}
        self.value_grad: dict[int, Any] = {}

    def add(
        self, tile: tpu_tile.Tile, weights: jax.Array, logits_grad: jax.Array
    ) -> None:
        """Adds the products of a tile's weights and of the gradient of its logits."""
        t, whole, head = self.block.tiling, self.whole, self.head
        output_grad = tpu_tile.head_rows(whole.output_grad, t, head)[:, tile.queries]
        query = tpu_tile.head_rows(whole.query, t, head)[:, tile.queries]
        key = tpu_tile.head_rows(whole.key, t, head)[:, tile.keys]
        by_row = functools.partial(
            jax.lax.dot_general,
            dimension_numbers=tpu_tile.BY_LAST,
            preferred_element_type=jnp.float32,
        )
        for row in range(tile.start, tile.stop, _LANES):
            rows = slice(row - tile.start, row - tile.start + _LANES)
            _add(self.value_grad, row, by_row(output_grad, weights[rows]))
            _add(self.key_grad, row, by_row(query, logits_grad[rows]))
        product = jnp.dot(key, logits_grad, preferred_element_type=jnp.float32)
        for column in range(0, tile.width, _LANES):
            some = product[:, column : column + _LANES]
            _add(self.query_grad, tile.first + column, some)

    def sums(self) -> tuple[jax.Array, ...]:
        """Returns the gradients of query, key and value, [width, length]."""
        t = self.block.tiling
        zeros = jnp.zeros((t.width, _LANES), jnp.float32)
        return tuple(
            jnp.concatenate([x.get(i, zeros) for i in range(0, n, _LANES)], axis=1)
            for x, n in (
                (self.query_grad, t.query),
                (self.key_grad, t.key),
                (self.value_grad, t.key),
            )
        )

    def weigh(self, tile: tpu_tile.Tile) -> tuple[jax.Array, jax.Array]:
        """Returns a tile's weights and the gradient of its logits, [keys, queries]."""
        r, t, head = self.r, self.block.tiling, self.head
        example, causal = self.whole.example, self.causal
        log_sum_exp = r.log_sum_exp[example, head : head + 1, tile.queries]
        query = tpu_tile.only_head(r.query[example, tile.queries], t, head)
        output_grad = tpu_tile.only_head(r.output_grad[example, tile.queries], t, head)
        product = functools.partial(
            jax.lax.dot_general,
            dimension_numbers=tpu_tile.BY_LAST,
            preferred_element_type=jnp.float32,
        )
        logits = product(r.key[example, tile.keys], query)
        weights_grad = product(r.value[example, tile.keys], output_grad)
        if t.has_bias:
            logits += tpu_tile.band_tile(r.band, t, head, tile)
        weights = jnp.exp(logits - log_sum_exp)
        attended = self.block.where_attended(tile, causal, weights, 0.0, example, r)
        if t.masked or causal is tpu_tile.Causal.ANY:
            nothing = tpu_tile.nothing_attended(log_sum_exp)
            share = jnp.where(nothing, 1.0 / t.num_keys, 0.0)
            weights = self.block.where_attended(
                tile, causal, weights, share, example, r
            )
        else:
            weights = attended
        real = self.block.padding(tile)
        if real is not None:
            attended = jnp.where(real, attended, 0.0)
            weights = jnp.where(real, weights, 0.0)
        logits_grad = attended * (weights_grad - self.mean[:, tile.queries])
        if t.has_bias:
            _add_band(r.band_grad, t, head, tile, logits_grad)
        dtype = r.query.dtype
        return weights.astype(dtype), logits_grad.astype(dtype)


def _add(sums: dict[int, Any], place: int, x: jax.Array) -> None:
    sums[place] = sums[place] + x if place in sums else x


def _add_band(
    band_grad: Any,
    t: tpu_tiling.Tiling,
    head: int,
    at: tpu_tile.Tile,
    logits_grad: jax.Array,
) -> None:
    """Adds a tile to the bands, after summing its squares on each diagonal."""
    diagonals: dict[int, Any] = {}
    for row, column in itertools.product(
        range(at.start, at.stop, _LANES), range(at.first, at.end, _LANES)
    ):
        rows = slice(row - at.start, row - at.start + _LANES)
        columns = slice(column - at.first, column - at.first + _LANES)
        _add(
            diagonals,
            tpu_band.window(row, column, t.key),
            logits_grad[rows, columns],
        )
    for x, square in diagonals.items():
        band_grad[head, :, x : x + _LANES] += square
