"""Makes the plans of several runs on one topology."""

from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import dataclasses
import time
from typing import TypeVar

from clinometer import models
from clinometer.kernels import terminal
from clinometer.kernels.tpu import chips
from clinometer.tools.plan import compiler
from clinometer.tools.plan import machines
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_cache
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import topologies
from clinometer.tools.plan.fit import child as fit_child
from clinometer.tools.plan.fit import estimate
from clinometer.tools.plan.fit import meshes
from clinometer.tools.plan.fit import search

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Target:
    """What runs are planned for.

    Attributes:
        chip: the chip.
        topology: the compiler's name of the topology.
        prices: of the chip.
    """

    chip: chips.Chip
    topology: str
    prices: prices_lib.Prices


def target(topology: str, prices: str | None) -> Target:
    """Reads what the options `--topology` and `--prices` say.

    Args:
        topology: name of a chip or a topology.
        prices: path of a file of prices, or None.

    Raises:
        OptionError: there is no such topology, or the file is wrong or lacks the chip.
    """
    chip, resolved = topologies.resolve(topology)
    if prices is None:
        return Target(chip, resolved, prices_lib.UNKNOWN)
    found = prices_lib.of_device(prices_lib.read(prices), prices, chip.name)
    return Target(chip, resolved, found)


def plans(
    requests: Sequence[request_lib.Request],
    target: Target,
    *,
    steps: int,
    jobs: int,
    timeout: float,
) -> list[run_plan.Record]:
    """Returns the plan of each run; shows the progress on standard error.

    Args:
        requests: the train steps, for the topology of the target.
        target: what they are planned for.
        steps: number of steps of each run.
        jobs: number of compilers at a time.
        timeout: time limit for compiling a step, in seconds.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
        ValueError: a model, batch or mesh is not possible.
        LostError: a step could not be compiled.
        OSError: the cache cannot be written.
    """

    def one(
        compiler_of_steps: step_compiler.StepCompiler, request: request_lib.Request
    ) -> run_plan.Record:
        compiled = compiler_of_steps.run(request)
        return run_plan.make(
            request, compiled, target.chip, steps=steps, prices=target.prices
        )

    return _all(one, requests, jobs, timeout)


def fits(
    requests: Sequence[request_lib.Request],
    target: Target,
    *,
    steps: int,
    jobs: int,
    timeout: float,
) -> list[search.Outcome]:
    """Searches the mesh, rematerialization and microbatches of each run.

    Args and errors are those of `plans`.
    """
    machine = machines.of_chip(target.chip)

    def one(
        compiler_of_steps: step_compiler.StepCompiler, request: request_lib.Request
    ) -> search.Outcome:
        told = compiler_of_steps.call(fit_child.__name__, request)
        fields = request.model_fields
        shape = estimate.shape_of(
            models.build(request.model, **fields).config,
            run_plan.counts_of(request),
            kernels=target.chip.refusal is None
            and fields.get("implementation") != "reference",
        )

        def compile_one(candidate: request_lib.Request) -> run_plan.Record:
            compiled = compiler_of_steps.run(candidate)
            return run_plan.make(
                candidate, compiled, target.chip, steps=steps, prices=target.prices
            )

        return search.run(
            request,
            [meshes.from_json(found) for found in told["meshes"]],
            machine,
            shape,
            capacity=machine.hbm_bytes * told["cores_per_device"],
            compile_one=compile_one,
        )

    return _all(one, requests, jobs, timeout)


def _all(
    one: Callable[[step_compiler.StepCompiler, request_lib.Request], _Result],
    requests: Sequence[request_lib.Request],
    jobs: int,
    timeout: float,
) -> list[_Result]:
    """Returns the result of each request, in order, `jobs` of them at a time."""
    for request in requests:
        models.build(request.model, **request.model_fields)
    compiler.libtpu_version()
    started = time.monotonic()
    found = []
    with (
        terminal.Line(seconds=30) as line,
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        # Left first, so that an interruption ends the processes that are waited for.
        step_compiler.StepCompiler(step_cache.folder(), timeout) as compiler_of_steps,
    ):
        waiting = [pool.submit(one, compiler_of_steps, x) for x in requests]
        for done, (request, future) in enumerate(zip(requests, waiting)):
            elapsed = time.monotonic() - started
            line.say(
                f"{done} of {len(requests)}, {elapsed:.0f} s: {request.model} for "
                f"{request.topology}"
            )
            try:
                found.append(future.result())
            except (step_compiler.RefusedError, step_compiler.LostError) as error:
                raise type(error)(f"{request.model}: {error}") from None
    return found
