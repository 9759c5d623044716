"""Runs one case: compiles all forms, checks that they agree, and times them."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels import dispatch
from clinometer.kernels import terminal
from clinometer.kernels.bench import cases as cases_lib
from clinometer.kernels.bench import timer
from clinometer.kernels.bench import torch_baselines
from clinometer.kernels.bench import yardsticks

PASSES = ("forward", "forward+backward")
# Relative to the largest value of each result; forms sum in different orders.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Form:
    run: Callable[[], Any]
    to_numpy: Callable[[Any], list[np.ndarray]]
    temp_bytes: int | None  # None if unknown


def run_case(
    case: cases_lib.BenchmarkCase,
    pass_name: str,
    dtype: str,
    names: Sequence[str],
    rounds: int,
    environment: dict[str, Any],
    line: terminal.Line,
) -> list[Record]:
    """Measures the forms of a case.

    Args:
        case: the case to measure.
        pass_name: one of `PASSES`.
        dtype: the name of the arguments' dtype.
        names: the forms to measure in addition to the reference.
        rounds: the number of samples of each form.
        environment: the result of `environment.describe`, added to each record.
        line: the status line.

    Returns:
        One record per form.

    Raises:
        timer.DisagreementError: if the results of a form differ from the reference.
    """
    what = f"{case.op} {case.shape} {pass_name}"
    arguments = case.arguments()
    gradients: tuple[jax.Array, ...] = ()
    functions = case.functions()
    if pass_name != "forward":
        shapes = jax.eval_shape(functions["reference"], *arguments)
        gradients = cases_lib.cotangents(case, jax.tree.leaves(shapes))
    tolerance = TOLERANCES[dtype]
    if gradients and case.gradient_tolerance is not None:
        tolerance = case.gradient_tolerance
    forms: dict[str, _Form] = {}
    differences: dict[str, float] = {}
    expected: list[np.ndarray] = []
    wanted = ["reference", *(n for n in (*functions, *case.torch) if n != "reference")]
    for name in wanted:
        if name not in ("reference", *names):
            continue
        line.say(f"{what}: {name}: compiling and checking")
        try:
            if name in case.torch:
                form = _torch_form(case, name, arguments, gradients, environment)
            else:
                form = _jax_form(case, functions[name], arguments, gradients)
        except dispatch.NotSupportedError as error:
            line.note(f"{what}: {name}: skipped: {error}")
            continue
        given = form.to_numpy(form.run())
        expected = expected or given
        differences[name] = timer.check_agreement(
            f"{what}: {name}", expected, given, tolerance
        )
        forms[name] = form
    yardstick: dict[str, Callable[[], Any]] = {}
    if "cpu" in forms:
        work = yardsticks.Workload.of(
            *_program(case, functions["cpu"], arguments, gradients)
        )
        yardstick = work.functions()
    timings = timer.interleave(
        {name: form.run for name, form in forms.items()} | yardstick,
        rounds,
        progress=lambda done: line.say(f"{what}: round {done} of {rounds}"),
    )
    jnp_forms = [
        name for name in forms if name == "reference" or name in case.baselines
    ]
    best = min(jnp_forms, key=lambda name: timings[name].median)
    return [
        {
            "op": case.op,
            "pass": pass_name,
            "implementation": name,
            "shape": case.shape,
            "dtype": dtype,
            "median_seconds": timings[name].median,
            "iqr_seconds": timings[name].iqr,
            "ratio_to_best_reference": timings[best].median / timings[name].median,
            "best_reference": best,
            "rounds": rounds,
            "difference": differences[name],
            "temp_bytes": form.temp_bytes,
            **(work.profile(timings) if name == "cpu" else {}),
            **environment,
        }
        for name, form in forms.items()
    ]


def _jax_form(
    case: cases_lib.BenchmarkCase,
    function: Callable[..., Any],
    arguments: tuple[jax.Array, ...],
    cotangents: tuple[jax.Array, ...],
) -> _Form:
    function, arguments = _program(case, function, arguments, cotangents)
    compiled = jax.jit(function).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    return _Form(
        lambda: jax.block_until_ready(compiled(*arguments)),
        _arrays,
        None if memory is None else memory.temp_size_in_bytes,
    )


def _program(
    case: cases_lib.BenchmarkCase,
    function: Callable[..., Any],
    arguments: tuple[jax.Array, ...],
    cotangents: tuple[jax.Array, ...],
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns the function to time and its arguments; with gradients if asked."""
    if not cotangents:
        return function, arguments
    gradients = functools.partial(with_gradients, function, case.num_gradients)
    return gradients, (cotangents, *arguments)


def with_gradients(
    function: Callable[..., Any],
    num_gradients: int,
    cotangents: tuple[jax.Array, ...],
    *arguments: jax.Array,
) -> tuple[Any, Any]:
    """Returns the results of a function and the gradients for given cotangents.

    Args:
        function: a function that is differentiable in its first arguments.
        num_gradients: how many of the first arguments get a gradient.
        cotangents: cotangents of its floating-point results.
        *arguments: the arguments of the function.
    """

    def split(*wanted: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        results = jax.tree.leaves(function(*wanted, *arguments[num_gradients:]))
        floats = [x for x in results if jnp.issubdtype(x.dtype, jnp.floating)]
        return floats, results

    _, backward, results = jax.vjp(split, *arguments[:num_gradients], has_aux=True)
    return results, backward(list(cotangents))


def _arrays(results: Any) -> list[np.ndarray]:
    wide = [
        x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x in jax.tree.leaves(results)
    ]
    return [np.asarray(x) for x in wide]


def _torch_form(
    case: cases_lib.BenchmarkCase,
    name: str,
    arguments: tuple[jax.Array, ...],
    cotangents: tuple[jax.Array, ...],
    environment: dict[str, Any],
) -> _Form:
    run = torch_baselines.prepare(
        case.torch[name],
        arguments,
        cotangents,
        case.num_gradients,
        environment["threads"],
    )
    return _Form(run, torch_baselines.to_numpy, None)
