"""The gradients of the mixture of softmaxes as a Pallas TPU kernel.

With w = exp(prior + z - normalizer - output), the share of a component in a
probability, and q = exp(z - normalizer), its own probability,

    prior_grad = sum_v output_grad w
    z_grad = output_grad w - q prior_grad

so that prior's gradient must be known before that of the first logit z. A program
computes the logits of its tokens again and prior's gradient, and for the tokens before,
whose logits are in VMEM, the gradients of the contexts and of the table. The grid and
the shapes are those of `tpu_forward`.
"""

import functools
from typing import Any

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from clinometer.kernels.mixture_of_softmaxes import blocks
from clinometer.kernels.mixture_of_softmaxes import tpu_tile
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import products
from clinometer.kernels.tpu import wrap


def backward(
    s: blocks.Shapes,
    contexts: jax.Array,
    prior: jax.Array,
    normalizer: jax.Array,
    table: jax.Array,
    output: jax.Array,
    output_grad: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns gradients of contexts [n, K T, d], prior [n, K T, 1] and table [V, d].

    Args:
        s: the shapes of the call, and its blocks.
        contexts: bfloat16 [n, K T, d].
        prior: float32 [n, K T, 1].
        normalizer: log-sum-exps, float32 [n, K T, 1].
        table: bfloat16 [V, d].
        output: log-probabilities, float32 [N, V].
        output_grad: float32 [N, V].
    """
    here, before, column = tpu_tile.index_maps(s)

    shape = (s.tokens, s.columns)
    of_these = pl.BlockSpec(shape, lambda i, j: (here(i), column(i, j)))
    of_before = pl.BlockSpec(shape, lambda i, j: (before(i), jnp.where(i > 0, j, 0)))
    # The table's gradient is summed in HBM: read for each block of tokens, after it was
    # written for the block before. The first block ignores what it reads.
    sums = pl.BlockSpec((s.columns, s.width), lambda i, j: (jnp.where(i > 0, j, 0), 0))
    by_lane = pltpu.VMEM((s.rows, lanes.LANES), jnp.float32)
    weight = (prior - normalizer) * tpu_tile.LOG2E
    normalizer = normalizer * tpu_tile.LOG2E
    table_grad = max(s.vocabulary, s.columns), s.width
    operands = [
        (contexts, tpu_tile.rows_spec(s, s.width, here)),
        (contexts, tpu_tile.rows_spec(s, s.width, before)),
        (weight, tpu_tile.rows_spec(s, 1, here)),
        (normalizer, tpu_tile.rows_spec(s, 1, before)),
        (table, pl.BlockSpec((s.columns, s.width), lambda i, j: (j, 0))),
        (output, of_these),
        (output_grad, of_these),
        (output, of_before),
        (output_grad, of_before),
        (jax.lax.empty(table_grad, jnp.float32), sums),
    ]
    arrays, specs = zip(*operands, strict=True)
    *gradients, of_table = wrap.call(
        functools.partial(_kernel, s),
        "mixture_of_softmaxes_backward",
        dimension_semantics=("arbitrary", "arbitrary"),
        grid=(s.token_blocks + 1, s.column_blocks),
        in_specs=specs,
        out_specs=[
            tpu_tile.rows_spec(s, s.width, before),
            tpu_tile.rows_spec(s, 1, before),
            sums,
        ],
        out_shape=[
            jax.ShapeDtypeStruct(contexts.shape, jnp.float32),
            jax.ShapeDtypeStruct(prior.shape, jnp.float32),
            jax.ShapeDtypeStruct(table_grad, jnp.float32),
        ],
        input_output_aliases={len(operands) - 1: 2},
        scratch_shapes=[
            tpu_tile.logits_scratch(s),
            pltpu.VMEM((s.rows, s.columns), contexts.dtype),
            *[by_lane] * 5,
        ],
        vmem_limit_bytes=s.vmem_bytes("backward"),
    )(*arrays)
    return *gradients, of_table[: s.vocabulary]


def _kernel(
    s: blocks.Shapes,
    contexts_ref: Any,  # [1, K T, d]
    contexts_before_ref: Any,
    weight_in_ref: Any,  # [1, K T, 1] prior - normalizer, in base 2
    normalizer_in_ref: Any,  # [1, K T, 1] of the tokens before, in base 2
    table_ref: Any,  # [columns, d]
    output_ref: Any,  # [T, columns]
    output_grad_ref: Any,
    output_before_ref: Any,
    output_grad_before_ref: Any,
    table_sum_ref: Any,  # [columns, d] over all tokens but those before
    contexts_grad_ref: Any,  # [1, K T, d] of the tokens before
    prior_grad_ref: Any,  # [1, K T, 1] of the tokens before
    table_grad_ref: Any,  # [columns, d]
    z_ref: Any,  # [blocks, K T, columns] logits
    z_grad_ref: Any,  # [K T, columns]
    weight_ref: Any,  # [K T, 128] prior - normalizer
    share_ref: Any,  # [K T, 128] prior's gradient so far, by lane
    weight_before_ref: Any,  # [K T, 128]
    normalizer_ref: Any,  # [K T, 128] of the tokens before
    share_before_ref: Any,  # [K T, 128] prior's gradient, in every lane
) -> None:
    i, j = pl.program_id(0), pl.program_id(1)

    # A single block of the table's gradient never leaves VMEM.
    total_ref = table_sum_ref if s.column_blocks > 1 else table_grad_ref

    def spread(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x, weight_ref.shape)

    @pl.when((i > 0) & (j == 0))
    def _() -> None:
        share = jnp.sum(share_ref[...], axis=1, keepdims=True)
        prior_grad_ref[0] = share
        share_before_ref[...] = spread(share)
        weight_before_ref[...] = weight_ref[...]
        normalizer_ref[...] = spread(normalizer_in_ref[0])
        contexts_grad_ref[...] = jnp.zeros(contexts_grad_ref.shape, jnp.float32)

    @pl.when(j == 0)
    def _() -> None:
        share_ref[...] = jnp.zeros(share_ref.shape, jnp.float32)
        weight_ref[...] = spread(weight_in_ref[0])

    def read(
        output_ref: Any, grad_ref: Any, tokens: Any, start: int, block: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Returns output, in base 2, and its gradient, 0 beyond tokens and columns."""
        columns = pl.ds(start, lanes.LANES)
        output, grad = output_ref[:, columns] * tpu_tile.LOG2E, grad_ref[:, columns]
        if s.padded_tokens > s.num_tokens:
            token = jax.lax.broadcasted_iota(jnp.int32, output.shape, 0)
            valid = token < s.num_tokens - tokens * s.tokens
            output, grad = (jnp.where(valid, x, 0.0) for x in (output, grad))
        if s.may_end(start):
            valid = tpu_tile.inside(s, output.shape, block, start)
            output, grad = (jnp.where(valid, x, 0.0) for x in (output, grad))
        return output, grad

    def multiply(start: int) -> None:
        z = tpu_tile.logits(s, contexts_ref, table_ref, j, start)
        z_ref[j, :, pl.ds(start, lanes.LANES)] = z
        output, grad = read(output_ref, output_grad_ref, i, start, j)
        for k in range(s.components):
            rows = slice(k * s.tokens, (k + 1) * s.tokens)
            share_ref[rows] += grad * jnp.exp2(z[rows] + weight_ref[rows] - output)

    def differentiate(start: int) -> None:
        columns = pl.ds(start, lanes.LANES)
        output, grad = read(output_before_ref, output_grad_before_ref, i - 1, start, j)
        for k in range(s.components):
            rows = slice(k * s.tokens, (k + 1) * s.tokens)
            z = z_ref[j, rows, columns]
            share = grad * jnp.exp2(z + weight_before_ref[rows] - output)
            own = jnp.exp2(z - normalizer_ref[rows]) * share_before_ref[rows]
            z_grad_ref[rows, columns] = (share - own).astype(z_grad_ref.dtype)

    def multiply_gradients() -> None:
        contexts_grad_ref[0] += products.dot(z_grad_ref[...], table_ref[...])
        gradient = products.dot(z_grad_ref[...], contexts_before_ref[0], over=(0, 0))
        table_grad_ref[...] = gradient + jnp.where(i > 1, total_ref[...], 0.0)

    # Zeros are multiplied by the rows beyond the vocabulary, which hold anything.
    @pl.when(j == s.column_blocks - 1)
    def _() -> None:
        for start in range(0, s.columns, lanes.LANES):
            if s.may_end(start):
                rows = pl.ds(start, lanes.LANES)
                x = table_ref[rows].astype(jnp.float32)
                valid = tpu_tile.inside(s, x.shape, j, start, axis=0)
                table_ref[rows] = jnp.where(valid, x, 0.0).astype(table_ref.dtype)

    tpu_tile.in_turn(s, i, before=differentiate, now=multiply, after=multiply_gradients)
