"""Lists the meshes of a topology in a child process, which loads the TPU compiler.

The argument is the path of a job in JSON with the request. One event is printed: the
meshes, or why the request is refused.
"""

from collections.abc import Sequence
import json
import os
import pathlib
import sys

import jax

from clinometer.tools.plan import child_process
from clinometer.tools.plan import devices as devices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import step_child
from clinometer.tools.plan.fit import meshes


def main(argv: Sequence[str]) -> int:
    """Runs the job whose path is in `argv`."""
    job = json.loads(pathlib.Path(argv[0]).read_text(encoding="utf-8"))
    tell = child_process.start()
    request = request_lib.Request(**job["request"])
    try:
        devices = devices_lib.of(request)
        found = [meshes.to_json(x) for x in meshes.possible(request, devices)]
    except ValueError as error:
        tell(refused=str(error))
        return 0
    except jax.errors.JaxRuntimeError as error:
        said = step_child.first_line(error)
        tell(refused=f"the compiler has no such topology: {said}")
        return 0
    cores = getattr(devices[0], "num_cores", 1)
    tell(meshes=found, cores_per_device=cores)
    sys.stderr.flush()
    os._exit(0)  # Without the clean-up of libtpu, as in `step_child.py`.


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
