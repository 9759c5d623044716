"""Tests the roofline of relative attention against numbers computed by hand."""

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels.relative_attention import roofline
from clinometer.kernels.tpu import chips

SETTINGS = {"causal": False, "masked": False, "groups": 1}


def operands(batch=8, length=512, heads=8, width=64):
    shape = jax.ShapeDtypeStruct
    x = shape((batch, length, heads, width), jnp.bfloat16)
    segments, offset = shape((1, length), jnp.int32), shape((1,), jnp.int32)
    bias = shape((1, heads, 2 * length - 1), jnp.float32)
    nothing = shape((1, 0, 0, 0), jnp.float32)
    return {
        "query": x,
        "key": x,
        "value": x,
        "bias": bias,
        "query_segments": segments,
        "key_segments": segments,
        "offset": offset,
        "multiplier": nothing,
    }


def test_forward_on_v5e():
    least = roofline.forward(chips.CHIPS["v5e"], operands(), SETTINGS)
    # Logits: 512 rows past 4 tiles of weights; values: 64 rows past 16; 4 units.
    assert least.mxu == 64 * (512 * 4 / 4 + 64 * 16 / 4) == 49152
    assert least.eup == 64 * 512 * 512 / 1024
    assert least.vpu == 64 * 512 * 512 * 5.5 / 4096
    size = 4 * 8 * 512 * 512 * 2 + 8 * 8 * 512 * 4 + 8 * 1023 * 4 + 2 * 512 * 4 + 4
    assert least.hbm == pytest.approx(size / (820e9 / 1.503e9), rel=1e-3)
    assert least.binds == "mxu"


def test_causal_and_backward():
    v5e = chips.CHIPS["v5e"]
    causal = SETTINGS | {"causal": True}
    least = roofline.forward(v5e, operands(), causal)
    assert least.mxu == 49152 * 10 / 16  # of 4 x 4 blocks of 128, ten
    x = operands()["query"]
    log_sum_exp = jax.ShapeDtypeStruct((8, 8, 512), jnp.float32)
    more = {"output": x, "log_sum_exp": log_sum_exp, "output_grad": x}
    least = roofline.backward(v5e, operands() | more, SETTINGS)
    assert least.mxu == 64 * (2 * 512 + 3 * 256) == 114688


def test_wider_units_and_heads():
    v6e = chips.CHIPS["v6e"]
    least = roofline.forward(v6e, operands(width=128), SETTINGS)
    rows = 64 * (512 * 2 + 128 * 4)  # two tiles of 256 columns; four of weights
    assert least.mxu == pytest.approx(rows / v6e.mxu_tiles_per_cycle)
