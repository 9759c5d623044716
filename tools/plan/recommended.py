"""Recommends to recompute activations, where a step does not fit without it."""

from collections.abc import Callable
import dataclasses
from typing import Any

from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_compiler

# The policy that keeps least, and so the last resort before other meshes.
POLICY = "layer"


def tried(
    request: request_lib.Request,
    record: run_plan.Record,
    make: Callable[[request_lib.Request], run_plan.Record],
) -> run_plan.Record:
    """Returns a plan with `with_remat`: what became of the step with `--remat layer`.

    It is None if the step fits or has that policy already. Otherwise it has the policy,
    and the plan's `fits`, `reason`, `memory` and `step_seconds` with it; `fits` is None
    if it could not be compiled.

    Args:
        request: the step.
        record: its plan.
        make: compiles a step and returns its plan.
    """
    if record["fits"] or request.fields.get("remat") == POLICY:
        return record | {"with_remat": None}
    again = dataclasses.replace(request, fields={**request.fields, "remat": POLICY})
    try:
        found = make(again)
    except (step_compiler.RefusedError, step_compiler.LostError) as error:
        # The plan stands, whatever became of the second try.
        found = {"reason": str(error)}
    kept = ("fits", "reason", "memory", "step_seconds")
    told = {"policy": POLICY, **{key: found.get(key) for key in kept}}
    return record | {"with_remat": told}


def sentence(told: dict[str, Any]) -> str:
    """Says what `with_remat` found.

    Args:
        told: the value of `with_remat` in a plan, not None.
    """
    option = f"--remat {told['policy']}"
    if told["fits"] is None:
        return f"with {option} it could not be compiled"
    if not told["fits"]:
        return f"it does not fit with {option} either"
    size = told["memory"]["total_bytes"] / 2**30
    time = told["step_seconds"]
    took = "" if time is None else f", {1000 * time:,.3g} ms a step"
    return f"it fits with {option}: {size:.1f} GiB{took}"
