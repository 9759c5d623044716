"""The devices that programs are compiled for, which are not here."""

from collections.abc import Sequence
from typing import Any

from jax.experimental import topologies

from clinometer.tools.plan import cuda
from clinometer.tools.plan import gpus
from clinometer.tools.plan import request as request_lib


def of(request: request_lib.Request) -> Sequence[Any]:
    """Returns descriptions of the devices that a step is for.

    Args:
        request: the step.

    Raises:
        RuntimeError: the compiler has no such topology.
    """
    if request.platform == cuda.PLATFORM:
        return cuda.devices(request.topology)
    return topologies.get_topology_desc(
        platform=request.platform, topology_name=request.topology
    ).devices


def described(request: request_lib.Request) -> str:
    """Returns the topology's name, with what the compiler is told about a GPU.

    Args:
        request: the step.
    """
    if request.platform != cuda.PLATFORM:
        return request.topology
    gpu, _ = gpus.resolve(request.topology)
    flags = cuda.ENVIRONMENT["XLA_FLAGS"]
    return "\n".join((request.topology, flags, cuda.description(gpu)))


def num_chips(request: request_lib.Request, devices: Sequence[Any]) -> int:
    """Returns the number of chips, of which each may be several devices, or of GPUs.

    Args:
        request: the step.
        devices: from `of`.
    """
    if request.platform == cuda.PLATFORM:
        return len(devices)
    return len({tuple(device.coords) for device in devices})
