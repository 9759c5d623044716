"""Tests the Switch operations' errors for bad input, in Python and in C++."""

import functools

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels import NotSupportedError
from clinometer.kernels import expert_matmul
from clinometer.kernels import switch_combine
from clinometer.kernels import switch_dispatch
from clinometer.kernels import switch_route
from clinometer.kernels.cpu import native

F32, BF16, I32, BOOL = jnp.float32, jnp.bfloat16, jnp.int32, jnp.bool_


def shape(*dimensions, dtype=F32):
    return jax.ShapeDtypeStruct(dimensions, dtype)


LOGITS, SLOT, GATE = shape(2, 6, 3), shape(2, 6, dtype=I32), shape(2, 6)
X, Y, COUNTS = shape(2, 6, 8), shape(2, 3, 4, 8), shape(2, 3, dtype=I32)
W = shape(3, 8, 5)


@pytest.mark.parametrize(
    ("operands", "settings", "message"),
    [
        ([shape(6, 3)], {}, r"logits: must be \[groups, tokens, experts\]"),
        ([shape(2, 6, 3, dtype=I32)], {}, "logits: must be float32 or bfloat16"),
        ([shape(2, 0, 3)], {}, "logits: has an empty axis"),
        ([LOGITS], {"capacity": 0}, "capacity: must be at least 1, got 0"),
        ([LOGITS], {"capacity": 2**30}, "capacity: 3 experts of"),
        ([LOGITS, shape(2, 5, dtype=BOOL)], {}, r"mask: must be bool \(2, 6\)"),
        ([LOGITS, shape(2, 6)], {}, "mask: must be bool"),
        ([LOGITS], {"implementation": "gpu"}, "accepted are auto, reference"),
    ],
)
def test_route(operands, settings, message):
    def run(logits, mask=None):
        return switch_route(logits, mask=mask, **{"capacity": 4, **settings})

    with pytest.raises(ValueError, match=f"switch_route.*{message}"):
        jax.eval_shape(run, *operands)


@pytest.mark.parametrize(
    ("operands", "settings", "message"),
    [
        ([shape(6, 8), SLOT], {}, r"x: must be \[groups, tokens, width\]"),
        ([X, shape(2, 5, dtype=I32)], {}, r"slot: must be int32 \(2, 6\)"),
        ([X, shape(2, 6)], {}, "slot: must be int32"),
        ([X, SLOT], {"num_experts": 0}, "num_experts: must be at least 1"),
        ([X, SLOT], {"implementation": ()}, "got"),
    ],
)
def test_dispatch(operands, settings, message):
    run = functools.partial(
        switch_dispatch, **{"num_experts": 3, "capacity": 4, **settings}
    )
    with pytest.raises(ValueError, match=f"switch_dispatch: .*{message}"):
        jax.eval_shape(run, *operands)


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ([X, SLOT, GATE], r"y: must be \[groups, experts, capacity, width\]"),
        ([Y, shape(6, dtype=I32), GATE], r"slot: must be \[groups, tokens\]"),
        ([Y, shape(1, 6, dtype=I32), GATE], r"slot: must be int32 \(2, 6\)"),
        ([Y, SLOT, shape(2, 6, dtype=BF16)], "gate: must be float32"),
        ([Y, SLOT, shape(2, 7)], r"gate: must be float32 \(2, 6\)"),
    ],
)
def test_combine(operands, message):
    with pytest.raises(ValueError, match=f"switch_combine: {message}"):
        jax.eval_shape(switch_combine, *operands)


@pytest.mark.parametrize(
    ("operands", "num_tokens", "message"),
    [
        ([X, W, COUNTS], 6, r"x: must be \[groups, experts, capacity, width\]"),
        ([Y, shape(3, 7, 5), COUNTS], 6, r"w: must be float32 \(3, 8, 5\)"),
        ([Y, shape(2, 8, 5), COUNTS], 6, r"w: must be float32 \(3, 8, 5\)"),
        ([Y, shape(3, 8, 5, dtype=BF16), COUNTS], 6, "w: must be float32"),
        ([Y, shape(8, 5), COUNTS], 6, r"w: must be \[experts, input width"),
        ([Y, W, shape(2, 3)], 6, "counts: must be int32"),
        ([Y, W, COUNTS], 0, "num_tokens: must be at least 1"),
    ],
)
def test_matmul(operands, num_tokens, message):
    run = functools.partial(expert_matmul, num_tokens=num_tokens)
    with pytest.raises(ValueError, match=f"expert_matmul: {message}"):
        jax.eval_shape(run, *operands)


def test_a_missing_implementation_says_why():
    with pytest.raises(NotSupportedError, match="tpu: the program is lowered"):
        jax.jit(functools.partial(switch_route, capacity=2, implementation="tpu"))(
            jnp.zeros((1, 4, 2))
        )


ROUTE = [SLOT, SLOT, GATE, COUNTS, shape(2, 3), shape(2, 3), shape(2)]
MASK = shape(2, 6, dtype=BOOL)


@pytest.mark.parametrize(
    ("name", "operands", "results", "attributes", "message"),
    [
        ("switch_route_forward", [LOGITS, MASK], ROUTE, {"capacity": 0}, "capacity"),
        (
            "switch_route_forward",
            [LOGITS, shape(2, 5, dtype=BOOL)],
            ROUTE,
            {"capacity": 4},
            "mask",
        ),
        (
            "switch_route_backward",
            [LOGITS, MASK, SLOT, GATE, shape(2, 5), shape(2, 3), shape(2)],
            [LOGITS],
            {},
            "gate_grad",
        ),
        (
            "switch_dispatch",
            [X, shape(2, 5, dtype=I32)],
            [Y],
            {"num_experts": 3, "capacity": 4},
            "slot",
        ),
        ("switch_dispatch", [X, SLOT], [Y], {"num_experts": 4, "capacity": 3}, "y"),
        ("switch_combine", [Y, SLOT, shape(2, 7)], [X], {}, "gate"),
        ("switch_combine", [Y, SLOT, GATE], [shape(2, 6, 9)], {}, "slot"),
        (
            "switch_combine_backward",
            [Y, SLOT, shape(1, 6), X],
            [Y, GATE],
            {},
            "gate",
        ),
        (
            "expert_matmul_forward",
            [Y, shape(1, 2, 8, 5), COUNTS],
            [shape(2, 3, 4, 5)],
            {},
            "w",
        ),
        (
            "expert_matmul_backward",
            [Y, shape(1, 3, 8, 5), COUNTS, shape(2, 3, 4, 5)],
            [Y, shape(3, 3, 8, 5)],
            {},
            "groups of w_grad",
        ),
    ],
)
def test_handlers_check_their_buffers(name, operands, results, attributes, message):
    arrays = [jnp.zeros(x.shape, x.dtype) for x in operands]
    run = jax.jit(lambda *given: native.call(name, results, *given, **attributes))
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(run(*arrays))
