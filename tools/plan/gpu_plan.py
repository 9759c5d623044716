"""The plan of a run on GPUs: its memory is a prediction, its times are lower bounds."""

from clinometer.tools.plan import gpus
from clinometer.tools.plan import hlo
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import step_cost

MEMORY = (
    "a prediction: compiled without a GPU and without autotuning, to be compared with "
    f"the {gpus.TAKEN:.0%} of a GPU's memory that JAX takes by default"
)
METHOD = (
    "a lower bound for this program, the greater of the model's FLOPs over the "
    "published peak and the bytes that its kernels must move over the published "
    "bandwidth of the memory; what GPUs exchange is left out, and so are launches"
)


def make(
    request: request_lib.Request,
    compiled: step_compiler.Compiled,
    gpu: gpus.Gpu,
    *,
    steps: int,
    prices: prices_lib.Prices = prices_lib.UNKNOWN,
) -> run_plan.Record:
    """Returns the plan of a run, for JSON.

    Args:
        request: the step.
        compiled: what the compiler said about it.
        gpu: the GPU.
        steps: number of steps of the run.
        prices: of the GPU.
    """
    record = run_plan.untimed(request, compiled, gpu.taken_bytes, steps=steps)
    record["memory_method"] = MEMORY
    text = compiled.entry.text
    if not text:
        return record
    work = {
        "flops": record["flops_per_device"] / gpu.flops_per_second,
        "bytes": moved_bytes(text, gpu) / gpu.bytes_per_second,
    }
    record |= run_plan.exchanged(step_cost.read(text)) | {"work_seconds": work}
    if not record["fits"]:
        return record
    seconds = max(work.values())
    return record | {
        "step_seconds": seconds,
        "step_seconds_parts": work,
        "method": METHOD,
        **run_plan.duration(record, seconds, prices),
    }


def moved_bytes(text: str, gpu: gpus.Gpu) -> int:
    """Returns the bytes that a step must move between a GPU and its memory.

    A kernel reads each operand and writes each result once. Of what it reads, as much
    as the L2 cache holds may be there already, and of what it writes, as much may stay
    there; so this is what is certain.

    Args:
        text: the text of the optimized module for one device.
        gpu: the GPU.
    """
    cached = 2 * gpu.l2_mebibytes * 2**20
    return sum(
        one.times * max(0, one.hbm_bytes - cached) for one in hlo.instructions(text)
    )
