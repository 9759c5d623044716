"""Which implementation a call takes, on a kernel made for the purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import context
from clinometer.kernels import dispatch
from clinometer.kernels import equations


def kernel(cpu_reason=None, avoided=None):
    """Doubles its operand; its implementations add what tells them apart."""

    def make(extra):
        return lambda x, **settings: (2 * x + extra,)

    return dispatch.Kernel(
        "double",
        "forward",
        lambda x, **settings: (jax.ShapeDtypeStruct(x.shape, x.dtype),),
        lambda x, **settings: 10 * x.size,
        {
            "reference": dispatch.Implementation(make(0.0)),
            "cpu": dispatch.Implementation(
                make(100.0),
                refuse=lambda *args, **settings: cpu_reason,
                avoid=lambda *args, **settings: avoided,
                executed_flops=lambda x, **settings: 7,
            ),
            "tpu": dispatch.Implementation(
                make(1000.0),
                refuse=lambda kind, *args, **settings: (
                    "too old" if kind == "TPU v3" else None
                ),
            ),
        },
    )


X = jnp.arange(3.0).reshape(3, 1)


def run(made, implementation="auto"):
    return dispatch.call(made, (X,), {}, implementation)[0]


def taken(made, implementation="auto", platform="cpu"):
    choice = equations.choices(
        lambda x: dispatch.call(made, (x,), {}, implementation), X, platform=platform
    )
    return [(c.implementation, c.passed_over) for c in choice]


def test_auto_takes_the_platforms_own():
    np.testing.assert_array_equal(run(kernel()), 2 * X + 100)
    np.testing.assert_array_equal(jax.jit(lambda: run(kernel()))(), 2 * X + 100)
    np.testing.assert_array_equal(run(kernel(), "reference"), 2 * X)
    assert taken(kernel()) == [("cpu", ())]
    assert taken(kernel(), platform="tpu") == [("tpu", ())]
    assert taken(kernel(), platform="cuda") == [("reference", ())]


def test_only_a_reason_falls_through_and_it_is_told():
    reasoned = kernel(cpu_reason="too odd")
    np.testing.assert_array_equal(run(reasoned), 2 * X)
    assert taken(reasoned) == [("reference", ("cpu: too odd",))]
    with pytest.raises(dispatch.NotSupportedError, match="cpu: too odd"):
        run(reasoned, "cpu")
    with pytest.raises(
        dispatch.NotSupportedError, match="cpu: too odd; tpu: the program is lowered"
    ):
        run(reasoned, ("cpu", "tpu"))
    assert taken(reasoned, ("cpu", "reference")) == taken(reasoned)


def test_auto_alone_heeds_what_is_slower():
    slower = kernel(avoided="slower here")
    assert taken(slower) == [("reference", ("cpu: slower here",))]
    assert taken(slower, "cpu") == [("cpu", ())]


def test_the_target_is_chosen_not_the_machine():
    """A program is lowered for a TPU on a machine that has none."""
    function = jax.jit(lambda x: dispatch.call(kernel(), (x,), {}, "auto"))
    text = function.trace(X).lower(lowering_platforms=("tpu",)).as_text()
    assert "1.000000e+03" in text
    with context.target("TPU v3"):
        assert taken(kernel(), platform="tpu") == [("reference", ("tpu: too old",))]
        text = function.trace(X).lower(lowering_platforms=("tpu",)).as_text()
    assert "1.000000e+03" not in text
    with context.target("TPU v5e"):
        assert taken(kernel(), platform="tpu") == [("tpu", ())]


def test_costs_are_declared_at_the_boundary():
    made = kernel()
    cost = made.cost(jax.ShapeDtypeStruct((3, 1), jnp.float32))
    assert cost == dispatch.Cost(flops=30, bytes=2 * 3 * 4)


@pytest.mark.parametrize("implementation", ["gpu", (), ("cpu", "triton")])
def test_unknown_names_are_an_error_before_lowering(implementation):
    with pytest.raises(ValueError, match="double: implementation: got .*accepted are"):
        jax.make_jaxpr(lambda x: dispatch.call(kernel(), (x,), {}, implementation))(X)
