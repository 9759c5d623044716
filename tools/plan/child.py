"""Compiles programs for TPU topologies in a child process, and reports on each.

`compiler.py` runs this module in a child process because libtpu reads its flags only
once and its simulator may end the process. The argument is the path of a request in
JSON. For each job, two events are printed as JSON lines: the job begins, the job ends.
Before the second event, the files that the compiler wrote are moved to the job's
folder. The process ends when its standard input is closed, and so when its parent ends.
"""

from collections.abc import Sequence
import importlib
import json
import os
import pathlib
import sys
from typing import Any

import jax
from jax.experimental import topologies

from clinometer.kernels import context
from clinometer.tools.plan import child_process
from clinometer.tools.plan.tpu_cost import case as case_lib


def main(argv: Sequence[str]) -> int:
    """Runs the jobs of the request whose path is in `argv`."""
    request = json.loads(pathlib.Path(argv[0]).read_text(encoding="utf-8"))
    tell = child_process.start()
    if request["core"] is not None:
        os.sched_setaffinity(0, [request["core"]])
    module, _, function = request["table"].partition(":")
    table = getattr(importlib.import_module(module), function)()
    dump = pathlib.Path(request["dump"])
    for place, job in request["jobs"]:
        tell(event="begin", job=place)
        try:
            result = _compile(table, job)
        except Exception as error:
            result = {"reason": f"{type(error).__name__}: {error}"}
        move(dump, pathlib.Path(request["folders"]) / str(place))
        tell(event="end", job=place, **result)
    return 0


def move(dump: pathlib.Path, folder: pathlib.Path) -> None:
    """Moves the files that the compiler has written since the last move.

    Args:
        dump: the folder that the compiler writes to.
        folder: the job's folder, which is created if necessary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in dump.iterdir():
        path.rename(folder / path.name)


def _compile(
    table: Sequence[case_lib.CostCase | case_lib.TrainStepCase], job: dict[str, Any]
) -> dict[str, Any]:
    topology = topologies.get_topology_desc(
        platform="tpu", topology_name=job["topology"]
    )
    device = topology.devices[0]
    sharding = jax.sharding.SingleDeviceSharding(device)
    run, shapes = case_lib.program(
        case_lib.find(table, job["case"]), job["implementation"], job["dtype"]
    )
    if job["kernel"]:
        with context.target(device.device_kind):
            run, shapes = case_lib.kernel(run, shapes, job["kernel"])
    arrays = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for x in shapes]
    compiled = jax.jit(run).lower(*arrays).compile()
    memory = compiled.memory_analysis()
    return {
        "reason": None,
        "hbm_temp_bytes": memory.temp_size_in_bytes,
        "hbm_argument_bytes": memory.argument_size_in_bytes,
        "hbm_output_bytes": memory.output_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "cores": getattr(device, "num_cores", 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
