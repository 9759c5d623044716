"""Tests which implementation a call uses, on a kernel made for the purpose."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import context
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import equations
from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature

SIGNATURE = Signature({"x": "b k"}, {"y": ResultSpec("b k", "x")})


def adding(extra):
    """Returns an implementation that is recognized by what it adds."""
    return lambda x: (2 * x + extra,)


def kernel(cpu_reason=None, avoided=None, **more):
    """Doubles its operand."""
    return declaration.Kernel(
        "double",
        "forward",
        SIGNATURE,
        lambda x: 10 * x.size,
        {
            "reference": declaration.Implementation(adding(0.0)),
            "cpu": declaration.Implementation(
                adding(100.0),
                platforms=("cpu",),
                refuse=lambda kind, x: cpu_reason,
                avoid=lambda kind, x: avoided,
                executed_flops=lambda x: 7,
            ),
            "tpu": declaration.Implementation(
                adding(1000.0),
                platforms=("tpu",),
                refuse=lambda kind, x: "too old" if kind == "TPU v3" else None,
            ),
            **more,
        },
    )


X = jnp.arange(3.0).reshape(3, 1)


def run(made, implementation="auto"):
    return dispatch.call(made, {"x": X}, {}, implementation)[0]


def taken(made, implementation="auto", platform="cpu"):
    choice = equations.choices(
        lambda x: dispatch.call(made, {"x": x}, {}, implementation),
        X,
        platform=platform,
    )
    return [(c.implementation, c.passed_over) for c in choice]


def lowered(made, platform):
    function = jax.jit(lambda x: dispatch.call(made, {"x": x}, {}, "auto"))
    return function.trace(X).lower(lowering_platforms=(platform,)).as_text()


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
    """A program is lowered for a TPU on a machine without one."""
    made = kernel()
    assert "1.000000e+03" in lowered(made, "tpu")
    with context.target("TPU v3"):
        assert taken(kernel(), platform="tpu") == [("reference", ("tpu: too old",))]
        assert "1.000000e+03" not in lowered(made, "tpu")
    with context.target("TPU v5e"):
        assert taken(kernel(), platform="tpu") == [("tpu", ())]


def test_costs_are_declared_at_the_boundary():
    made = kernel()
    cost = made.cost({"x": jax.ShapeDtypeStruct((3, 1), jnp.float32)}, {})
    assert cost == declaration.CallCost(flops=30, bytes=2 * 3 * 4)


@pytest.mark.parametrize("implementation", ["gpu", (), ("cpu", "triton")])
def test_unknown_names_are_an_error_before_lowering(implementation):
    with pytest.raises(ValueError, match="double: implementation: got .*accepted are"):
        jax.make_jaxpr(lambda x: dispatch.call(kernel(), {"x": x}, {}, implementation))(
            X
        )


def test_an_implementation_declares_its_platforms():
    """A new implementation is chosen by "auto" without any other change."""
    own = declaration.Implementation(adding(4096.0), platforms=("cuda", "rocm"))
    made = kernel(dummy=own)
    for platform in ("cuda", "rocm"):
        assert "4.096000e+03" in lowered(made, platform)
        assert "4.096000e+03" not in lowered(kernel(), platform)
        assert taken(made, platform=platform) == [("dummy", ())]
    assert taken(made, platform="gpu") == [("dummy", ())]  # JAX's name of both
    assert taken(made) == [("cpu", ())]
    assert taken(made, ("dummy", "reference")) == [
        ("reference", ("dummy: the program is lowered for cpu",))
    ]
    # Its name is accepted by all kernels; those that have none say so.
    assert "dummy" in declaration.implementation_names()
    with pytest.raises(dispatch.NotSupportedError, match="dummy: double has no impl"):
        run(kernel(), "dummy")


def test_implementations_share_a_platform():
    """Tried in the order of declaration, before those for all platforms."""
    second = declaration.Implementation(adding(4096.0), platforms=("cpu", "cuda"))
    assert taken(kernel(second=second)) == [("cpu", ())]
    assert taken(kernel("too odd", second=second)) == [("second", ("cpu: too odd",))]
    avoided = taken(kernel(avoided="slower here", second=second))
    assert avoided == [("second", ("cpu: slower here",))]
    assert taken(kernel(second=second), platform="cuda") == [("second", ())]


@pytest.mark.parametrize("interpretable", [True, False])
def test_what_is_interpretable_runs_where_it_is_interpreted(interpretable):
    own = declaration.Implementation(
        adding(4096.0), platforms=("cuda",), interpretable=interpretable
    )
    made = kernel(dummy=own)
    with context.interpret(True):
        assert taken(made) == [("cpu", ())]
        want = "dummy" if interpretable else "reference"
        assert taken(made, ("dummy", "reference"))[0][0] == want


def test_the_kind_of_device_is_that_of_the_platform():
    devices = [types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H200")]
    assert dispatch.device_kind(devices, ("cuda",)) == "NVIDIA H200"
    assert dispatch.device_kind(devices, ("tpu",)) is None


@pytest.mark.parametrize(
    ("operands", "settings", "message"),
    [
        ({"X": X}, {}, r"double \(forward\): unknown operand 'X'; it takes x"),
        ({}, {}, "missing operand 'x'"),
        ({"x": X}, {"causal": True}, "unknown setting 'causal'; it takes none"),
        ({"x": X[0]}, {}, r"x: must be \[b k\], got shape \(1,\)"),
    ],
)
def test_a_call_is_as_declared(operands, settings, message):
    with pytest.raises(ValueError, match=message):
        dispatch.call(kernel(), operands, settings, "auto")
