"""Counts the matmul FLOPs of a JAX program by walking its jaxpr.

XLA's own cost analysis counts the body of a scan once and includes elementwise work, so
its numbers cannot be compared between scanned and unrolled layers. This module counts
matrix products and convolutions only, with two FLOPs per multiply-add, times the trip
count of every scan. Nothing is compiled or allocated. A kernel call counts with its
declared cost, or with what a platform's implementation executes.
"""

from collections.abc import Callable
from collections.abc import Iterator
import functools
import math
from typing import Any

import jax

from clinometer.kernels import dispatch
from clinometer.kernels import equations


class UncountableError(ValueError):
    """Raised if the FLOPs of an operation cannot be known from the jaxpr."""


# Their work is not visible in the jaxpr, and must not count as free.
_OPAQUE = ("pallas_call", "ffi_call", "pure_callback", "io_callback", "custom_call")


def count_flops(
    function: Callable[..., Any], *args: Any, platform: str | None = None
) -> int:
    """Returns the FLOPs of matmuls and convolutions in one call of `function`.

    Rematerialized work counts. Trace a program without `remat` to count the FLOPs of
    the algorithm, and with it to count those that are executed.

    Args:
        function: a traceable function.
        *args: arrays or `jax.ShapeDtypeStruct`s; nothing is allocated.
        platform: None counts the declared FLOPs of kernels. "cpu", "tpu" or another
            platform counts what kernels execute there: recomputation included, skipped
            blocks left out.

    Raises:
        UncountableError: if a `while` loop with matmuls has no static trip count, or an
            operation is opaque.
    """
    return count_jaxpr(jax.make_jaxpr(function)(*args), platform)


def count_jaxpr(jaxpr: Any, platform: str | None = None) -> int:
    """Returns the matmul FLOPs of a closed jaxpr; see `count_flops`."""
    return _count(jaxpr.jaxpr, platform)


def _count(jaxpr: Any, platform: str | None) -> int:
    count = functools.partial(_count, platform=platform)
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            total += _dot_general(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "scan":
            total += params["length"] * count(params["jaxpr"].jaxpr)
        elif name == "cond":
            # One branch runs; the most expensive one is an upper bound.
            total += max(count(branch.jaxpr) for branch in params["branches"])
        elif name == "while":
            if any(count(inner) for inner in _inner_jaxprs(params)):
                raise UncountableError(
                    "count_flops: a `while` loop contains matmuls but has no static "
                    "trip count; use `lax.scan` or a `fori_loop` with constant bounds"
                )
        elif name == "shard_map":
            # The body is one device's share. Auto axes divide it further, which its
            # shapes do not show. Along an axis that shards no array, devices repeat the
            # same work, which is executed but not needed.
            axes = params["newly_manual_axes"]
            if platform is None:
                axes = axes & _divided_axes(params)
            devices = math.prod(params["mesh"].shape[axis] for axis in axes)
            total += devices * count(params["jaxpr"])
        elif name == dispatch.PRIMITIVE_NAME:
            if platform is None:
                total += equations.declared_cost(equation).flops
            else:
                total += equations.executed_flops(equation, platform, count)
        elif name in _OPAQUE:
            raise UncountableError(f"count_flops: cannot count FLOPs inside `{name}`")
        else:
            total += sum(count(inner) for inner in _inner_jaxprs(params))
    return total


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if hasattr(item, "jaxpr"):
                yield item.jaxpr
            elif hasattr(item, "eqns"):
                yield item


def _divided_axes(params: dict[str, Any]) -> set[str]:
    """Returns the axes of the mesh that divide an operand or a result."""
    found: set[str] = set()
    for spec in (*params["in_specs"], *params["out_specs"]):
        for names in spec:
            found.update((names,) if isinstance(names, str) else names or ())
    return found


def _dot_general(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    lhs_shape = equation.invars[0].aval.shape
    depth = math.prod(lhs_shape[axis] for axis in contracted)
    return 2 * math.prod(equation.outvars[0].aval.shape) * depth


def _convolution(equation: Any) -> int:
    rhs_shape = equation.invars[1].aval.shape
    out_features = rhs_shape[equation.params["dimension_numbers"].rhs_spec[0]]
    # Each output sums over the window and the inputs of its feature group.
    taps = math.prod(rhs_shape) // out_features
    return 2 * math.prod(equation.outvars[0].aval.shape) * taps
