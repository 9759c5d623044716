"""Tests differentiable operations, on kernels made for the purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import declaration
from clinometer.kernels import gradient
from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

OPERANDS = {"x": "b k", "scale": "b? o", "shift": "b k"}
RESULTS = {"y": ResultSpec("b k", "x"), "square": ResultSpec("b k", "x")}
BACK = {"x": "b k", "square": "b k", "scale": "b? o", "shift": "b k", "y_grad": "b k"}
BACK |= {"three": "b? o"}
GRADIENTS = {
    "x_grad": ResultSpec("b k", "x"),
    "scale_grad": ResultSpec("groups o", "scale"),
}


def made(pass_name, operands, results, run):
    return declaration.Kernel(
        "scale",
        pass_name,
        Signature(operands, results, ("groups",)),
        lambda **_: 0,
        {"reference": declaration.Implementation(run)},
    )


def scaled(x, scale, shift, groups):
    return x * scale + shift, jnp.square(x)


def back(x, square, scale, shift, y_grad, three, groups):
    """Returns gradients that also show which operands were passed."""
    scale_grad = jnp.sum((x * y_grad).reshape(groups, -1), axis=1, keepdims=True)
    return y_grad * scale + 100 * square + 1000 * shift, scale_grad + 10_000 * three


FORWARD = made("forward", OPERANDS, RESULTS, scaled)
BACKWARD = made("backward", BACK, GRADIENTS, back)


def test_gradients_are_bound_by_name():
    operation = gradient.Differentiable(
        FORWARD,
        BACKWARD,
        outputs=("y",),
        constants={"three": lambda x, **_: jnp.full((1, 1), 3, x.dtype)},
    )
    assert operation.kept == ["x", "square", "scale", "shift"]
    x, scale = jnp.arange(6.0).reshape(3, 2), jnp.full((1, 1), 2.0)
    shift = jnp.ones((3, 2), jnp.int32)

    def run(x, scale, shift):
        operands = {"shift": shift, "scale": scale, "x": x}  # in any order
        (y,) = operation(operands, {"groups": 1}, "auto")
        return y

    y, vjp = jax.vjp(run, x, scale, shift)
    np.testing.assert_array_equal(y, 2 * x + 1)
    x_grad, scale_grad, shift_grad = vjp(jnp.ones_like(y))
    np.testing.assert_array_equal(x_grad, 2.0 + 100 * x**2 + 1000)
    np.testing.assert_array_equal(scale_grad, [[15.0 + 30_000]])
    assert shift_grad.dtype == jax.dtypes.float0 and shift_grad.shape == (3, 2)
    with pytest.raises(ValueError, match=r"scale \(forward\): unknown operand 'z'"):
        operation({"x": x, "scale": scale, "shift": shift, "z": x}, {}, "auto")


def test_passes_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"scale \(backward\): three: no operand, "):
        gradient.Differentiable(FORWARD, BACKWARD, outputs=("y",))
    few = {name: axes for name, axes in BACK.items() if name not in ("shift", "three")}
    without = made("backward", few, GRADIENTS, back)
    with pytest.raises(ValueError, match="shift: must be an operand, or its gradient"):
        gradient.Differentiable(FORWARD, without, outputs=("y",))
