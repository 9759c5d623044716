"""Connects the processes of a run, before JAX touches a device."""

import collections
import dataclasses
import os
import socket

import jax

# Private: only this tells the coordinator that JAX finds. `jax.distributed.initialize`
# cannot be asked, since it aborts the process if there is no coordinator.
from jax._src import clusters

from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.hosts import channel as channel_lib
from clinometer.train.hosts import departure as departure_lib
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import hub as hub_lib
from clinometer.train.hosts import member as member_lib
from clinometer.train.hosts import options as options_lib
from clinometer.train.hosts import relay as relay_lib

# For processes that start later than others, once process 0 listens.
MEET_SECONDS = 300.0
# Of JAX's own detection, which would abort the process: later than ours.
_JAX_SECONDS = 86_400
# Exit codes with which all processes end at the same point of the program.
_TOGETHER = (exit_codes.DONE, exit_codes.STOPPED)


def start(
    options: options_lib.Options | None, departure: departure_lib.Departure
) -> group_lib.Group:
    """Connects this process with the others, and JAX here with JAX there.

    Args:
        options: see `options.parse`; None for a process without others.
        departure: ends this process when another is lost.

    Returns:
        The processes.

    Raises:
        RunError: the others were not found in time, or were started otherwise.
    """
    if options is None:
        return group_lib.Group()
    options = options if options.coordinator else _detected(options)
    index, size = options.process_id, options.num_processes
    name = socket.gethostname()
    if index == 0:
        service_port = _free_port()
        service = address = f"{relay_lib.LOOPBACK}:{service_port}"
        group = hub_lib.Hub(
            channel_lib.listen("", options.address[1]),
            size,
            name,
            service_port=service_port,
            timeout_seconds=options.heartbeat_timeout,
            on_lost=departure.lost,
        )
    else:
        try:
            connection = channel_lib.connect(*options.address, options.connect_timeout)
        except errors.RunError as error:
            raise errors.RunError(
                f"--coordinator: {error}; start process 0 there, or set a longer "
                "--connect-timeout"
            ) from error
        group = member_lib.Member(
            channel_lib.Channel(connection),
            index,
            size,
            name,
            hub=options.coordinator,
            timeout_seconds=options.heartbeat_timeout,
            on_lost=departure.lost,
        )
        address = relay_lib.Relay(*options.address).address
        service = None
    group.meet(MEET_SECONDS)
    _initialize(options, address, service)
    return group


def check_devices(group: group_lib.Group, chosen_ids: tuple[int, ...] | None) -> None:
    """Checks the devices of all processes.

    Args:
        group: the processes.
        chosen_ids: `local_device_ids`, if they were given.

    Raises:
        OptionError: this process has no GPUs to choose from.
        RunError: the processes have different numbers of devices.
    """
    if group.size == 1:
        return
    platform = jax.local_devices()[0].platform
    if chosen_ids is not None and platform != "gpu":
        raise OptionError(
            "--local-device-ids: chooses GPUs, but this process has devices of type "
            f"{platform}"
        )
    counts = collections.Counter(device.process_index for device in jax.devices())
    odd = [index for index, count in counts.items() if count != counts[0]]
    if odd:
        raise errors.RunError(
            f"process {odd[0]} has {counts[odd[0]]} devices and process 0 has "
            f"{counts[0]}; all processes need the same number"
        )


def finish(group: group_lib.Group, code: int) -> int:
    """Ends this process's part in the group.

    Args:
        group: the processes.
        code: the exit code of this process.

    Returns:
        The exit code, if all processes have done their work. Otherwise the process
        ends here, since Python's own end would wait for the others.
    """
    if group.size == 1:
        return code
    if code in _TOGETHER:
        group.gather(code)
        group.leave(code)
        jax.distributed.shutdown()
        return code
    group.leave(code)
    departure_lib.end(code)


def _detected(options: options_lib.Options) -> options_lib.Options:
    """Returns the options that JAX detects in a cluster."""
    ids = options.local_device_ids
    found = os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, ids and list(ids)
    try:
        address, size, index, ids = (
            clusters.ClusterEnv.auto_detect_unset_distributed_params(
                *found, None, int(options.connect_timeout)
            )
        )
    except Exception as error:  # Of the cluster's interface.
        raise errors.RunError(
            f"--distributed: the cluster does not answer: {error}"
        ) from error
    if None in (address, size, index):
        raise errors.RunError(
            "--distributed: found no Slurm, Kubernetes, Open MPI or TPU pod here; give "
            "--coordinator, --num-processes and --process-id"
        )
    return dataclasses.replace(
        options,
        coordinator=address,
        num_processes=size,
        process_id=index,
        local_device_ids=tuple(ids) if ids else None,
    )


def _free_port() -> int:
    with channel_lib.listen(relay_lib.LOOPBACK, 0) as listener:
        return listener.getsockname()[1]


def _initialize(
    options: options_lib.Options, address: str, service: str | None
) -> None:
    # JAX's preemption service would take SIGTERM, which `preemption` handles.
    jax.config.update("jax_enable_preemption_service", False)
    # The connection is to this machine, which a proxy must not carry.
    for name in ("no_proxy", "NO_PROXY"):
        kept = os.environ.get(name)
        os.environ[name] = ",".join(filter(None, (kept, relay_lib.LOOPBACK)))
    jax.config.update("jax_check_proxy_envs", False)
    try:
        jax.distributed.initialize(
            coordinator_address=address,
            num_processes=options.num_processes,
            process_id=options.process_id,
            local_device_ids=options.local_device_ids,
            cluster_detection_method="deactivate",
            coordinator_bind_address=service,
            initialization_timeout=int(MEET_SECONDS),
            heartbeat_timeout_seconds=_JAX_SECONDS,
            shutdown_timeout_seconds=int(MEET_SECONDS),
        )
    except RuntimeError as error:
        raise errors.RunError(f"JAX did not connect the processes: {error}") from error
