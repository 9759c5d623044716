"""Public TPU kernels and jax.nn, at the shapes of our cases, for `tpu-cost --peers`.

Their blocks have up to 512 positions, with which attention takes a sixth to a tenth of
the cycles of the defaults, 128. Operands that the compiler's simulator reads as zeros,
since it has no contents of scalar memory, are constants of the program.

Shapes: B batch, H heads, S length, D width of a head; E experts, C slots, d and f
widths.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax.experimental.pallas.ops.tpu import flash_attention as flash_lib
from jax.experimental.pallas.ops.tpu import megablox
from jax.experimental.pallas.ops.tpu import splash_attention as splash_lib
import jax.numpy as jnp
import numpy as np

from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand

# The largest blocks of positions, and of widths in megablox.
_POSITIONS, _WIDTH = 512, 1024
_SPLASH_BLOCKS = (
    *("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq"),
    "block_kv_dq",
)


def attention(
    batch: int, length: int, num_heads: int, width: int, *, causal: bool
) -> dict[str, Form]:
    """Returns the peers of relative attention.

    Args:
        batch: B.
        length: S.
        num_heads: H.
        width: D.
        causal: whether queries don't attend to later keys.
    """
    x = Operand((batch, num_heads, length, width))
    rows = Operand((batch, length, num_heads, width))
    whole = Operand((batch, num_heads, length, length))
    shared = Operand((1, num_heads, length, length))
    no_table = "the bias is given as an array, not computed from a table"
    return {
        "peer flash": Form(
            _flash(causal),
            (x, x, x, whole),
            f"{no_table}, and has a copy for each example; heads lead positions",
            (x,),
        ),
        "peer flash, no bias": Form(
            _flash(causal), (x, x, x), "no bias; heads lead positions", (x,)
        ),
        "peer splash, no bias": Form(
            _splash(num_heads, length, causal),
            (x, x, x),
            "no bias; heads lead positions",
            (x,),
        ),
        "peer jax.nn": Form(
            _jax_nn(causal), (rows, rows, rows, shared), no_table, (rows,)
        ),
    }


def expert_matmul(
    num_experts: int, capacity: int, first: int, last: int
) -> dict[str, Form]:
    """Returns the peer of the experts' products.

    Args:
        num_experts: E.
        capacity: C; all slots are filled.
        first: d.
        last: f.
    """
    x = Operand((num_experts * capacity, first))
    w = Operand((num_experts, first, last))
    return {
        "peer megablox": Form(
            _megablox(num_experts, capacity, first, last),
            (x, w),
            "rows are sorted by expert, without empty slots between them",
            (Operand((num_experts * capacity, last)),),
        )
    }


def _flash(causal: bool) -> Callable[..., jax.Array]:
    def run(*operands: jax.Array) -> jax.Array:
        block = min(_POSITIONS, operands[0].shape[2])
        fields = dataclasses.fields(flash_lib.BlockSizes)
        blocks = {x.name: block for x in fields} | {"block_b": 1}
        return flash_lib.flash_attention(
            *operands, causal=causal, block_sizes=flash_lib.BlockSizes(**blocks)
        )

    return run


def _splash(num_heads: int, length: int, causal: bool) -> Callable[..., jax.Array]:
    def run(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        shape = (length, length)
        mask = splash_lib.CausalMask(shape) if causal else splash_lib.FullMask(shape)
        blocks = dict.fromkeys(_SPLASH_BLOCKS, min(_POSITIONS, length))
        kernel = splash_lib.make_splash_mha_single_device(
            splash_lib.MultiHeadMask([mask] * num_heads),
            block_sizes=splash_lib.BlockSizes(**blocks),
        )
        return jax.vmap(kernel)(query, key, value)

    return run


def _jax_nn(causal: bool) -> Callable[..., jax.Array]:
    def run(
        query: jax.Array, key: jax.Array, value: jax.Array, bias: jax.Array
    ) -> jax.Array:
        return jax.nn.dot_product_attention(
            query, key, value, bias, scale=1.0, is_causal=causal
        )

    return run


def _megablox(
    num_experts: int, capacity: int, first: int, last: int
) -> Callable[..., Any]:
    sizes = np.full(num_experts, capacity, np.int32)
    tiling = (min(_POSITIONS, capacity), min(_WIDTH, first), min(_WIDTH, last))

    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        return megablox.gmm(x, w, jnp.asarray(sizes), x.dtype, tiling)

    return run
