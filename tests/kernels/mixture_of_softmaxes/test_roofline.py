"""Tests the rooflines of the Mixture of Softmaxes on v5e against values by hand."""

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels.mixture_of_softmaxes import roofline
from clinometer.kernels.tpu import chips

V5E = chips.CHIPS["v5e"]
BYTES = 820e9 / 1.5e9  # a cycle
B, T, D, K, V = 8, 114, 768, 15, 32128
OPERANDS = {
    "h": jax.ShapeDtypeStruct((B, T, D), jnp.bfloat16),
    "mixture": jax.ShapeDtypeStruct((1, K, D), jnp.float32),
    "context": jax.ShapeDtypeStruct((1, K, D, D), jnp.float32),
    "table": jax.ShapeDtypeStruct((1, V, D), jnp.float32),
}
SETTINGS = {"chunk_tokens": 32, "groups": 1}
LOGITS = B * T * K * V
# 6 x 251 tiles of the table and three times 6 x 6 of a context, on four units.
PRODUCTS = B * T * K * (6 * 251 + 3 * 6 * 6) / 4


def test_a_product_with_the_table_limits_the_forward_pass():
    found = roofline.forward(V5E, OPERANDS, SETTINGS)
    parameters = 4 * (K * D + K * D * D + V * D)
    moved = 2 * B * T * D + parameters + 4 * B * T * (V + K)
    # Within 0.5 %: the clock is 1.503 GHz.
    assert found.hbm == pytest.approx(moved / BYTES, rel=0.005)
    assert found.mxu == pytest.approx(PRODUCTS)
    assert found.vpu == LOGITS * 4 / 4096
    assert found.eup == LOGITS / 1024
    assert found.binds == "mxu"


def test_three_of_them_limit_the_backward_pass():
    output = jax.ShapeDtypeStruct((B, T, V), jnp.float32)
    normalizer = jax.ShapeDtypeStruct((B, T, K), jnp.float32)
    more = {"output": output, "output_grad": output, "normalizer": normalizer}
    found = roofline.backward(V5E, OPERANDS | more, SETTINGS)
    parameters = 4 * (K * D + K * D * D + V * D)
    moved = 2 * (2 * B * T * D + parameters) + 4 * B * T * (2 * V + K)
    # Within 0.5 %, as above.
    assert found.hbm == pytest.approx(moved / BYTES, rel=0.005)
    assert found.mxu == pytest.approx(3 * PRODUCTS)
    assert found.vpu == LOGITS * 10 / 4096
    assert found.eup == 2 * LOGITS / 1024
    assert found.binds == "mxu"
