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
from clinometer.tools.plan import cuda
from clinometer.tools.plan import gpu_plan
from clinometer.tools.plan import gpus
from clinometer.tools.plan import machines
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import recommended
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
        chip: the chip, or the GPU.
        topology: the compiler's name of the topology, or the name of GPUs.
        prices: of the chip or the GPU.
    """

    chip: chips.Chip | gpus.Gpu
    topology: str
    prices: prices_lib.Prices = prices_lib.UNKNOWN

    @property
    def platform(self) -> str:
        """The platform that programs are lowered for."""
        return cuda.PLATFORM if isinstance(self.chip, gpus.Gpu) else "tpu"

    def plan(
        self,
        request: request_lib.Request,
        compiled: step_compiler.Compiled,
        steps: int,
    ) -> run_plan.Record:
        """Returns the plan of a run of a step that was compiled.

        Args:
            request: the step.
            compiled: what the compiler said about it.
            steps: number of steps of the run.
        """
        found = {"steps": steps, "prices": self.prices}
        if isinstance(self.chip, gpus.Gpu):
            return gpu_plan.make(request, compiled, self.chip, **found)
        return run_plan.make(request, compiled, self.chip, **found)


def target(topology: str | None, prices: str | None, gpu: str | None = None) -> Target:
    """Reads what the options `--topology` or `--gpu`, and `--prices`, say.

    Args:
        topology: name of a chip or a topology; None if there is a GPU.
        prices: path of a file of prices, or None.
        gpu: name of a GPU or of several of one host, or None.

    Raises:
        OptionError: there is no such topology or GPU, or the file is wrong or lacks the
            chip or the GPU.
    """
    if gpu is None:
        found = Target(*topologies.resolve(topology))
    else:
        found = Target(gpus.resolve(gpu)[0], gpu)
    if prices is None:
        return found
    known = prices_lib.of_device(prices_lib.read(prices), prices, found.chip.name)
    return dataclasses.replace(found, prices=known)


def plans(
    requests: Sequence[request_lib.Request],
    target: Target,
    *,
    steps: int,
    jobs: int,
    timeout: float,
) -> list[run_plan.Record]:
    """Returns the plan of each run; shows the progress on standard error.

    A step that does not fit is compiled again with rematerialization, see
    `recommended.tried`.

    Args:
        requests: the train steps, for the topology of the target.
        target: what they are planned for.
        steps: number of steps of each run.
        jobs: number of compilers at a time.
        timeout: time limit for compiling a step, in seconds.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
        MissingError: the compiler for GPUs is not installed.
        ValueError: a model, batch or mesh is not possible.
        LostError: a step could not be compiled.
        OSError: the cache cannot be written.
    """

    def one(
        compiler_of_steps: step_compiler.StepCompiler, request: request_lib.Request
    ) -> run_plan.Record:
        def make(step: request_lib.Request) -> run_plan.Record:
            return target.plan(step, compiler_of_steps.run(step), steps)

        return recommended.tried(request, make(request), make)

    return _all(one, requests, jobs, timeout)


def fits(
    requests: Sequence[request_lib.Request],
    target: Target,
    *,
    steps: int,
    jobs: int,
    timeout: float,
) -> list[search.Outcome]:
    """Searches the mesh, rematerialization and microbatches of each run, for TPUs.

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
            return target.plan(candidate, compiler_of_steps.run(candidate), steps)

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
    if any(request.platform == cuda.PLATFORM for request in requests):
        cuda.check_installed()
    else:
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
