"""Tests the rooflines of the Switch operations on v5e against values by hand."""

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels.switch import roofline
from clinometer.kernels.tpu import chips

V5E = chips.CHIPS["v5e"]
BYTES = 820e9 / 1.5e9  # a cycle
N, E, C, D, F = 4096, 32, 160, 512, 2048


def shape(*sizes, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(sizes, dtype)


def f32(*sizes):
    return shape(*sizes, dtype=jnp.float32)


def s32(*sizes):
    return shape(*sizes, dtype=jnp.int32)


def route(logits, **more):
    return {
        "logits": logits,
        "mask": shape(1, logits.shape[1], dtype=jnp.bool_),
        **more,
    }


def test_routing_reads_its_logits_once():
    found = roofline.route_forward(V5E, route(f32(1, N, E)), {"capacity": C})
    # Logits, a byte of mask, three words a token, three an expert, one of all.
    moved = 4 * N * E + N + 12 * N + 12 * E + 4
    assert found.hbm == pytest.approx(moved / BYTES, rel=0.005)
    assert found.vpu == N * E * 11 / 4096
    assert found.eup == (N * E + 2 * N) / 1024
    # 32 rows of experts for each of 32 tiles of tokens, through one of four units.
    assert found.mxu == pytest.approx(32 * 32 / 4, rel=0.005)
    assert found.binds == "hbm"


def test_experts_fill_whole_registers():
    many = roofline.route_forward(V5E, route(f32(2, 128, 8)), {"capacity": C})
    few = roofline.route_forward(V5E, route(f32(2, 100, 3)), {"capacity": C})
    assert many.vpu == few.vpu


def test_the_gradient_of_routing_reads_and_writes_logits():
    rows = {"expert_index": s32(1, N), "gate": f32(1, N), "gate_grad": f32(1, N)}
    rows |= {"probability_grad": f32(1, E), "z_grad": f32(1)}
    found = roofline.route_backward(V5E, route(f32(1, N, E), **rows), {})
    moved = 2 * 4 * N * E + N + 12 * N + 4 * E + 4
    assert found.hbm == pytest.approx(moved / BYTES, rel=0.005)


def test_rows_move_once():
    found = roofline.dispatch_forward(
        V5E,
        {"x": shape(1, N, D), "slot": s32(1, N)},
        {"num_experts": E, "capacity": C},
    )
    assert found.hbm == pytest.approx((2 * D * (N + E * C) + 4 * N) / BYTES, rel=0.005)
    y, rows = shape(1, E, C, D), {"slot": s32(1, N), "gate": f32(1, N)}
    for found in (
        roofline.combine_forward(V5E, {"y": y, **rows}, {}),
        roofline.dispatch_backward(V5E, {"y_grad": y, **rows}, {}),
    ):
        assert found.hbm == pytest.approx((4 * D * N + 8 * N) / BYTES, rel=0.005)
    operands = {"y": y, **rows, "output_grad": shape(1, N, D)}
    found = roofline.combine_backward(V5E, operands, {})
    moved = 2 * (2 * D * N) + 2 * D * E * C + 12 * N
    assert found.hbm == pytest.approx(moved / BYTES, rel=0.005)


def test_products_are_of_tokens_not_of_slots():
    operands = {"x": shape(1, E, C, D), "w": shape(1, E, D, F), "counts": s32(1, E)}
    settings = {"num_tokens": N, "num_experts": E, "groups": 1}
    found = roofline.expert_matmul_forward(V5E, operands, settings)
    # 4 x 16 tiles of 128 for each token, in four units.
    assert found.mxu == pytest.approx(N * 64 / 4, rel=0.005)
    assert found.binds == "hbm"  # of the weights, which 128 tokens an expert share
    backward = roofline.expert_matmul_backward(
        V5E, operands | {"y_grad": shape(1, E, C, F)}, settings
    )
    # 128 tokens an expert are as deep as a unit: no less than the other product.
    assert backward.mxu == pytest.approx(2 * found.mxu, rel=0.005)


def test_hidden_rows_do_not_leave_the_chip():
    operands = {
        "x": shape(1, E, C, D),
        "wi": shape(1, E, D, F),
        "wo": shape(1, E, F, D),
        "counts": s32(1, E),
        "seeds": s32(1, E),
        "column_keys": s32(1, F),
    }
    settings = {"num_tokens": N, "num_experts": E, "groups": 1}
    forward = roofline.feed_forward_forward(V5E, operands, settings)
    rows, weights = 2 * E * C * D, 2 * 2 * E * D * F
    assert forward.mxu == pytest.approx(2 * N * 64 / 4, rel=0.005)
    assert forward.hbm == pytest.approx((2 * rows + weights) / BYTES, rel=0.005)
    given = operands | {"hidden": shape(1, E, C, F), "y_grad": shape(1, E, C, D)}
    backward = roofline.feed_forward_backward(V5E, given, settings)
    # Hidden rows again, their gradient, x's, and those of both matrices.
    assert backward.mxu == pytest.approx(5 * N * 64 / 4, rel=0.005)
    assert backward.hbm == pytest.approx((3 * rows + 2 * weights) / BYTES, rel=0.005)
    assert forward.binds == backward.binds == "hbm"
