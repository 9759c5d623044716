"""The forward pass of the mixture of softmaxes as a Pallas TPU kernel.

A mixture needs the log-sum-exps of its softmaxes, and so all of their logits. The
kernel keeps those of T tokens in VMEM, [K T, V] in float32, and computes each only
once. A program multiplies T contexts of every component by a block of the table, while
the vector units mix the softmaxes of the T tokens before, whose logits it overwrites.

The K T rows of a program are ordered by component, so that a mixture is a sum of K
vector registers.
Exponents are in base 2, as the chip computes them.

Shapes: K components, T tokens of a program, N tokens in n blocks, V vocabulary, d width
of the model.
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
from clinometer.kernels.tpu import wrap


def forward(
    s: blocks.Shapes, contexts: jax.Array, prior: jax.Array, table: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns log-probabilities [N, V] and log-sum-exps [n, K T, 1], float32.

    Args:
        s: the shapes of the call, and its blocks.
        contexts: bfloat16 [n, K T, d].
        prior: log-probabilities of the components, float32 [n, K T, 1].
        table: bfloat16 [V, d].
    """
    here, before, column = tpu_tile.index_maps(s)
    by_lane = pltpu.VMEM((s.rows, lanes.LANES), jnp.float32)
    return wrap.call(
        functools.partial(_kernel, s),
        "mixture_of_softmaxes_forward",
        dimension_semantics=("arbitrary", "arbitrary"),
        grid=(s.token_blocks + 1, s.column_blocks),
        in_specs=[
            tpu_tile.rows_spec(s, s.width, here),
            tpu_tile.rows_spec(s, 1, before),
            pl.BlockSpec((s.columns, s.width), lambda i, j: (column(i, j), 0)),
        ],
        out_specs=[
            pl.BlockSpec(
                (s.tokens, s.columns),
                lambda i, j: (before(i), j * (i > 0).astype(jnp.int32)),
            ),
            tpu_tile.rows_spec(s, 1, before),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((s.num_tokens, s.vocabulary), jnp.float32),
            jax.ShapeDtypeStruct(prior.shape, jnp.float32),
        ],
        scratch_shapes=[tpu_tile.logits_scratch(s), by_lane, by_lane, by_lane],
        vmem_limit_bytes=s.vmem_bytes("forward"),
    )(contexts, prior, table)


def _kernel(
    s: blocks.Shapes,
    contexts_ref: Any,  # [1, K T, d]
    prior_ref: Any,  # [1, K T, 1] of the tokens before
    table_ref: Any,  # [columns, d]
    output_ref: Any,  # [T, columns] of the tokens before
    normalizer_ref: Any,  # [1, K T, 1] of the tokens before
    z_ref: Any,  # [blocks, K T, columns] logits
    most_ref: Any,  # [K T, 128] the largest logit so far, by lane
    total_ref: Any,  # [K T, 128] the sum of exponentials, over the largest
    weight_ref: Any,  # [K T, 128] prior - normalizer of the tokens before
) -> None:
    i, j = pl.program_id(0), pl.program_id(1)

    @pl.when((i > 0) & (j == 0))
    def _() -> None:
        most = jnp.max(most_ref[...], axis=1, keepdims=True)
        total = total_ref[...] * jnp.exp2(most_ref[...] - most)
        normalizer = most + jnp.log2(jnp.sum(total, axis=1, keepdims=True))
        normalizer_ref[0] = normalizer * tpu_tile.LN2
        weight = prior_ref[0] * tpu_tile.LOG2E - normalizer
        weight_ref[...] = jnp.broadcast_to(weight, weight_ref.shape)

    @pl.when(j == 0)
    def _() -> None:
        most_ref[...] = jnp.full(most_ref.shape, tpu_tile.LEAST, jnp.float32)
        total_ref[...] = jnp.zeros(total_ref.shape, jnp.float32)

    def multiply(start: int) -> None:
        z = tpu_tile.logits(s, contexts_ref, table_ref, j, start)
        z_ref[j, :, pl.ds(start, lanes.LANES)] = z
        before = most_ref[...]
        most = jnp.maximum(before, z)
        most_ref[...] = most
        total_ref[...] = total_ref[...] * jnp.exp2(before - most) + jnp.exp2(z - most)

    def mix(start: int) -> None:
        columns = pl.ds(start, lanes.LANES)
        for row in range(0, s.tokens, tpu_tile.SUBLANES):
            rows = tpu_tile.component_rows(s, row)
            z = [z_ref[j, r, columns] + weight_ref[r] for r in rows]
            most = functools.reduce(jnp.maximum, z)
            total = sum(jnp.exp2(x - most) for x in z)
            mixed = (most + jnp.log2(total)) * tpu_tile.LN2
            output_ref[pl.ds(row, tpu_tile.SUBLANES), columns] = mixed

    tpu_tile.in_turn(s, i, before=mix, now=multiply)
