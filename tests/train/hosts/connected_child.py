"""A process of several, for the tests: connects, computes, and ends as it is told.

    python -m clinometer.tests.train.hosts.connected_child MODE OPTIONS...

Prints a line of JSON for each thing that a test asks for.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time

import jax
import jax.numpy as jnp

from clinometer.train.hosts import departure as departure_lib
from clinometer.train.hosts import distributed
from clinometer.train.hosts import options


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    """Runs the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["end", "wait", "compute", "fail"])
    options.add_to(parser)
    arguments = parser.parse_args()
    departure = departure_lib.Departure("child")
    group = distributed.start(options.parse(arguments), departure)
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *unused: terminated.set())
    mesh = jax.make_mesh(
        (jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
    )
    divided = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    add = jax.jit(jnp.sum, in_shardings=divided, out_shardings=whole)
    # 0 + 1 + ... + 11, for 1 to 4 processes.
    numbers = jax.jit(lambda: jnp.arange(12), out_shardings=divided)()
    _say(
        sum=int(add(numbers)),
        local=jax.local_device_count(),
        indices=group.gather(group.index),
        pid=os.getpid(),
    )
    if arguments.mode == "fail" and group.index == 1:
        return distributed.finish(group, 3)
    if arguments.mode == "end":
        # A Python handler works beside JAX, which has one of its own.
        os.kill(os.getpid(), signal.SIGTERM)
        _say(terminated=terminated.wait(30.0))
        return distributed.finish(group, 0)
    try:
        while True:
            time.sleep(0.05)
            if arguments.mode == "compute":
                add(numbers).block_until_ready()
    except Exception as error:  # JAX says it in its own words, of several types.
        _say(error=f"{type(error).__name__}: {error}"[:200])
        time.sleep(120.0)
    return 1


if __name__ == "__main__":
    sys.exit(main())
