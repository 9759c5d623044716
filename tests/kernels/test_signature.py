"""Tests of signatures: sizes, shared operands, positions of heads."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

SIGNATURE = Signature(
    {"x": "b s (h d)", "table": "b? h k", "mask": "b? s"},
    {
        "y": ResultSpec("b k (h d)", "x"),
        "table_grad": ResultSpec("groups h k", "float32"),
    },
    ("groups",),
    divisible=("h",),
)
X = jax.ShapeDtypeStruct((4, 5, 6), jnp.bfloat16)


def call(table=(1, 2, 3), mask=(1, 5), groups=2):
    shapes = {"table": table, "mask": mask}
    operands = {n: jax.ShapeDtypeStruct(x, jnp.float32) for n, x in shapes.items()}
    return {"x": X, **operands}, {"groups": groups}


def test_results_follow_from_operands_and_settings():
    y, table_grad = SIGNATURE.result_shapes(*call())
    assert (y.shape, y.dtype) == ((4, 3, 6), jnp.bfloat16)
    assert (table_grad.shape, table_grad.dtype) == ((2, 2, 3), jnp.float32)
    assert SIGNATURE.bytes(*call()) == 2 * 120 + 4 * 6 + 4 * 5 + 2 * 72 + 4 * 12


def test_sharing_and_places_follow_from_axes():
    assert [SIGNATURE.shared(name) for name in SIGNATURE.operands] == [0, 1, 1]
    assert SIGNATURE.operand_places() == [{"h": 2}, {"h": 1}, {}]
    assert SIGNATURE.result_places() == [{"h": 2}, {"h": 1}]
    plain = Signature(SIGNATURE.operands, SIGNATURE.results, ("groups",))
    assert plain.operand_places() == [{}] * 3
    two = dataclasses.replace(SIGNATURE, divisible=("k", "h"))
    assert two.operand_places() == [{"h": 2}, {"h": 1, "k": 2}, {}]
    assert two.result_places() == [{"k": 1, "h": 2}, {"h": 1, "k": 2}]


@pytest.mark.parametrize("mask", [(1, 5), (4, 5), (1, 0)])
def test_a_shared_operand_leads_with_1_and_one_left_out_is_empty(mask):
    SIGNATURE.check("conv", *call(mask=mask))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"mask": (2, 5)}, r"conv: mask: must be \[b\? s\] with b = 4, .* \(2, 5\)"),
        ({"mask": (1, 6)}, r"conv: mask: must be \[b\? s\] with s = 5, .* \(1, 6\)"),
        ({"table": (2, 3)}, r"conv: table: must be \[b\? h k\], got shape \(2, 3\)"),
    ],
)
def test_axes_that_disagree_are_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        SIGNATURE.check("conv", *call(**shapes))
