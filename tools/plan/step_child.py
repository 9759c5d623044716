"""Compiles one train step in a child process; `step_compiler.py` runs this module.

The argument is the path of a job in JSON: the request, the folder of the cache, and the
folder that the compiler dumps to. One event is printed: the key of the program, or why
the request is refused.
"""

from collections.abc import Sequence
import json
import os
import pathlib
import sys
import time

import jax

from clinometer.tools.plan import child_process
from clinometer.tools.plan import kernel_cost
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import step as step_lib
from clinometer.tools.plan import step_cache


def main(argv: Sequence[str]) -> int:
    """Runs the job whose path is in `argv`."""
    job = json.loads(pathlib.Path(argv[0]).read_text(encoding="utf-8"))
    tell = child_process.start()
    place, dump = pathlib.Path(job["cache"]), pathlib.Path(job["dump"])
    try:
        step = step_lib.lower(request_lib.Request(**job["request"]))
    except ValueError as error:  # Every error in a model, batch or mesh is one.
        tell(refused=str(error))
        return 0
    except jax.errors.JaxRuntimeError as error:
        tell(refused=f"the compiler has no such topology: {first_line(error)}")
        return 0
    cached = step_cache.load(place, step.key) is not None
    if not cached:
        step_cache.save(place, step.key, compiled(step, dump))
    tell(key=step.key, cached=cached)
    # Ends without the clean-up of libtpu, which may hang without a TPU.
    sys.stderr.flush()
    os._exit(0)


def compiled(step: step_lib.Step, dump: pathlib.Path) -> step_cache.Entry:
    """Compiles a step; returns what the compiler says.

    Args:
        step: the step.
        dump: the folder that the compiler dumps to.
    """
    start = time.perf_counter()
    try:
        program = step.lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        seconds = time.perf_counter() - start
        return step_cache.Entry(step.facts, first_line(error), None, "", {}, seconds)
    seconds = time.perf_counter() - start
    found = program.memory_analysis()
    memory = step_cache.Memory(
        found.argument_size_in_bytes,
        found.temp_size_in_bytes,
        found.output_size_in_bytes - found.alias_size_in_bytes,
    )
    text = program.as_text()
    kernels = kernel_cost.read(text, dump)
    return step_cache.Entry(step.facts, None, memory, text, kernels, seconds)


def first_line(error: Exception) -> str:
    """Returns an error of the compiler without its stack and its advice.

    Args:
        error: the error.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
