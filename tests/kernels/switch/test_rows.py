"""Tests of `switch_dispatch` and `switch_combine`: values, gradients, adjointness."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import choices
from clinometer.kernels import switch_combine
from clinometer.kernels import switch_dispatch
from clinometer.kernels.cpu import native
from clinometer.tests.kernels.switch import truth

# Groups, tokens, experts, capacity, width.
SHAPES = [(1, 1, 1, 1, 1), (2, 7, 3, 4, 5), (3, 65, 8, 6, 64), (1, 300, 4, 50, 33)]


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def dispatch(x, slot, num_experts, capacity, implementation):
    return switch_dispatch(
        x,
        slot,
        num_experts=num_experts,
        capacity=capacity,
        implementation=implementation,
    )


@functools.partial(jax.jit, static_argnums=3)
def combine(y, slot, gate, implementation):
    return switch_combine(y, slot, gate, implementation=implementation)


def inputs(shape, dtype=jnp.float32):
    groups, num_tokens, num_experts, capacity, width = shape
    x = jnp.asarray(truth.normal(0, groups, num_tokens, width), dtype)
    y = jnp.asarray(truth.normal(1, groups, num_experts, capacity, width), dtype)
    slot = truth.random_slots(2, groups, num_tokens, num_experts * capacity)
    gate = truth.f32(np.abs(truth.normal(3, groups, num_tokens)))
    return x, y, slot, gate


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_values(shape, dtype, implementation):
    x, y, slot, gate = inputs(shape, dtype)
    moved = dispatch(x, slot, shape[2], shape[3], implementation)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(
        np.asarray(moved, np.float64), truth.dispatch(x, slot, shape[2], shape[3])
    )
    back = combine(y, slot, gate, implementation)
    assert back.dtype == dtype
    tolerance = 1e-6 if dtype == jnp.float32 else 1e-2
    np.testing.assert_allclose(
        np.asarray(back, np.float64), truth.combine(y, slot, gate), rtol=tolerance
    )
    assert not np.any(np.asarray(back)[slot < 0])


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_dispatch_and_combine_are_adjoint(shape, implementation):
    x, y, slot, gate = inputs(shape)
    ones = jnp.ones_like(gate)
    moved = dispatch(x, slot, shape[2], shape[3], implementation)
    back = combine(y, slot, ones, implementation)
    left = np.vdot(np.asarray(moved, np.float64), y)
    np.testing.assert_allclose(left, np.vdot(np.asarray(x, np.float64), back))
    # Each one's VJP is the other, bit for bit.
    (x_grad,) = jax.vjp(
        lambda a: dispatch(a, slot, shape[2], shape[3], implementation), x
    )[1](y)
    np.testing.assert_array_equal(x_grad, back)
    (y_grad,) = jax.vjp(lambda a: combine(a, slot, ones, implementation), y)[1](x)
    np.testing.assert_array_equal(y_grad, moved)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_of_combine(dtype, implementation):
    shape = SHAPES[2]
    x, y, slot, gate = inputs(shape, dtype)
    y_grad, gate_grad = jax.vjp(
        lambda a, b: combine(a, slot, b, implementation), y, gate
    )[1](x)
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-2
    scaled = np.asarray(x, np.float64) * np.asarray(gate)[..., None]
    np.testing.assert_allclose(
        np.asarray(y_grad, np.float64),
        truth.dispatch(scaled, slot, shape[2], shape[3]),
        rtol=tolerance,
    )
    rows = truth.combine(y, slot, np.ones(slot.shape))
    want = np.sum(rows * np.asarray(x, np.float64), axis=-1)
    assert y_grad.dtype == dtype and gate_grad.dtype == jnp.float32
    np.testing.assert_allclose(gate_grad, want, rtol=1e-5, atol=1e-5)
    assert not np.any(np.asarray(gate_grad)[slot < 0])


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_no_token_has_a_slot(implementation):
    x, y, slot, gate = inputs(SHAPES[1])
    nowhere = np.full_like(slot, -1)
    assert not np.any(np.asarray(dispatch(x, nowhere, 3, 4, implementation)))
    garbage = jnp.full_like(y, jnp.nan)  # Nothing of it may be read.
    assert not np.any(np.asarray(combine(garbage, nowhere, gate, implementation)))
    grads = jax.vjp(lambda a, b: combine(a, nowhere, b, implementation), y, gate)[1](x)
    assert not any(np.any(np.asarray(g)) for g in grads)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_a_slot_that_does_not_exist_is_none(implementation):
    x, y, slot, gate = inputs(SHAPES[1])
    beyond = np.where(slot < 0, 12, slot).astype(np.int32)
    for a, b in (
        (
            dispatch(x, beyond, 3, 4, implementation),
            dispatch(x, slot, 3, 4, implementation),
        ),
        (
            combine(y, beyond, gate, implementation),
            combine(y, slot, gate, implementation),
        ),
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_nan_stays_in_its_row(implementation):
    x, y, slot, gate = inputs(SHAPES[1])
    slot[0, 2] = -1
    slot[0, 3] = next(s for s in range(12) if s not in slot[0])
    x = x.at[0, 2:4, 1].set(jnp.nan)
    moved = np.asarray(dispatch(x, slot, 3, 4, implementation)).reshape(2, 12, 5)
    assert np.argwhere(np.isnan(moved)).tolist() == [[0, slot[0, 3], 1]]


@pytest.mark.parametrize(
    ("isa", "num_tokens", "implementations"),
    [
        ("avx2", 4096, ["cpu", "cpu"]),
        ("avx512", 256, ["cpu", "cpu"]),
        ("avx512", 512, ["cpu", "reference"]),
        ("avx512", 4096, ["reference", "reference"]),
    ],
)
def test_auto_takes_the_faster(isa, num_tokens, implementations, monkeypatch):
    monkeypatch.setattr(native, "active_isa", lambda: isa)
    x = jax.ShapeDtypeStruct((1, num_tokens, 512), jnp.float32)
    slot = np.zeros((1, num_tokens), np.int32)
    found = choices(
        jax.grad(lambda x: dispatch(x, slot, 8, num_tokens // 6, "auto").sum()), x
    )
    assert [c.implementation for c in found] == implementations
    for choice in found:
        assert [r.startswith("cpu: measured slower") for r in choice.passed_over] == (
            [True] if choice.implementation == "reference" else []
        )
