"""Inspects the kernel calls of a traced program: choices, executed FLOPs and costs."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
from typing import Any

import jax
from jax.extend import core

from clinometer.kernels import context as context_lib
from clinometer.kernels import declaration
from clinometer.kernels import dispatch


def choices(
    function: Callable[..., Any], *args: Any, platform: str | None = None
) -> list[dispatch.Choice]:
    """Returns which implementation each kernel call in `function` uses.

    The device kind is the one set by `kernels.target`, or else that of the local
    devices.

    Args:
        function: a traceable function.
        *args: arrays or `jax.ShapeDtypeStruct`s; nothing is run.
        platform: "cpu", "tpu", ...; None for JAX's default backend.

    Raises:
        dispatch.NotSupportedError: if no requested implementation can run a call.
    """
    platform = platform or jax.default_backend()
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return [_choice_of(equation, platform) for equation in calls(jaxpr)]


def calls(jaxpr: Any) -> Iterator[Any]:
    """Yields the equations of kernel calls in a jaxpr, at any depth."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == dispatch.PRIMITIVE_NAME:
            yield equation
        for inner in core.jaxprs_in_params(equation.params):
            yield from calls(inner)


def executed_flops(equation: Any, platform: str, count: Callable[[Any], int]) -> int:
    """Returns the FLOPs that the chosen implementation of a call executes.

    Args:
        equation: an equation of the primitive `dispatch.PRIMITIVE_NAME`.
        platform: see `dispatch.choose`.
        count: returns the FLOPs of a jaxpr.
    """
    kernel, settings = equation.params["kernel"], dict(equation.params["settings"])
    chosen = kernel.implementations[_choice_of(equation, platform).implementation]
    if chosen.executed_flops is not None:
        return chosen.executed_flops(**_operands_of(equation), **settings)
    return count(implementation_jaxpr(equation, platform))


def implementation_jaxpr(equation: Any, platform: str) -> Any:
    """Returns the jaxpr that a kernel call runs on a platform; see `executed_flops`."""
    kernel, settings = equation.params["kernel"], dict(equation.params["settings"])
    run = kernel.function(_choice_of(equation, platform).implementation, settings)
    with _context_of(equation, platform).entered():
        return jax.make_jaxpr(run)(*_operands_of(equation).values()).jaxpr


def declared_cost(equation: Any) -> declaration.CallCost:
    """Returns the declared cost of a kernel call; see `executed_flops`."""
    kernel, settings = equation.params["kernel"], dict(equation.params["settings"])
    return kernel.cost(_operands_of(equation), settings)


def _operands_of(equation: Any) -> dict[str, Any]:
    """Returns the shapes of a kernel's operands, by name."""
    signature = equation.params["kernel"].signature
    return signature.named(variable.aval for variable in equation.invars)


def _context_of(equation: Any, platform: str) -> context_lib.TraceContext:
    """Returns the context of a call; its target defaults to the local devices."""
    context, kernel = equation.params["context"], equation.params["kernel"]
    if context.target is None:
        platforms = kernel.target_platforms(platform, context.interpret is not None)
        here = dispatch.device_kind(jax.local_devices(), platforms)
        context = dataclasses.replace(context, target=here)
    return context


def _choice_of(equation: Any, platform: str) -> dispatch.Choice:
    params, context = equation.params, _context_of(equation, platform)
    return dispatch.choose(
        params["kernel"],
        _operands_of(equation),
        dict(params["settings"]),
        params["implementation"],
        platform,
        context.target,
        context.interpret is not None,
    )
