"""Makes the plans of several runs on one topology."""

from collections.abc import Iterator
from collections.abc import Sequence
import concurrent.futures
import dataclasses
import time

from clinometer import models
from clinometer.kernels import terminal
from clinometer.kernels.tpu import chips
from clinometer.tools.plan import compiler
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_cache
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import topologies


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
    for request in requests:
        models.build(request.model, **request.model_fields)
    compiler.libtpu_version()
    return [
        run_plan.make(request, compiled, target.chip, steps=steps, prices=target.prices)
        for request, compiled in _compiled(requests, jobs, timeout)
    ]


def _compiled(
    requests: Sequence[request_lib.Request], jobs: int, timeout: float
) -> Iterator[tuple[request_lib.Request, step_compiler.Compiled]]:
    """Yields the compiled steps in order, while others compile."""
    started = time.monotonic()
    with (
        terminal.Line(seconds=30) as line,
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        # Left first, so that an interruption ends the processes that are waited for.
        step_compiler.StepCompiler(step_cache.folder(), timeout) as steps,
    ):
        waiting = [(one, pool.submit(steps.run, one)) for one in requests]
        for done, (request, future) in enumerate(waiting):
            elapsed = time.monotonic() - started
            line.say(
                f"{done} of {len(requests)}, {elapsed:.0f} s: {request.model} for "
                f"{request.topology}"
            )
            yield request, _result(request, future)


def _result(
    request: request_lib.Request,
    future: concurrent.futures.Future[step_compiler.Compiled],
) -> step_compiler.Compiled:
    """Returns the compiled step; an error names the model."""
    try:
        return future.result()
    except (step_compiler.RefusedError, step_compiler.LostError) as error:
        raise type(error)(f"{request.model}: {error}") from None
