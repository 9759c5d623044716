"""Command-line options for a run of several processes."""

import argparse
import dataclasses
import re

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError

HEARTBEAT_TIMEOUT = 100.0  # Seconds.
CONNECT_TIMEOUT = 20.0  # Seconds.
_TOGETHER = ("coordinator", "num_processes", "process_id")
_ADDRESS = re.compile(r"(?P<host>[^:\[\]\s]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
_PROCESSES = ranges.Whole(1, 1 << 20)
_SECONDS = ranges.Real(1, 86_400)


@dataclasses.dataclass(frozen=True)
class Options:
    """How this process finds the others.

    Attributes:
        coordinator: HOST:PORT where process 0 listens; None to detect it, and the next
            two fields, from the cluster.
        num_processes: number of processes.
        process_id: index of this process.
        local_device_ids: the GPUs of this machine that this process uses; None for all
            or, in a cluster that starts one process a GPU, its own.
        heartbeat_timeout: seconds without a sign of life after which a process counts
            as lost.
        connect_timeout: seconds that this process waits for process 0 to listen.
    """

    coordinator: str | None
    num_processes: int | None
    process_id: int | None
    local_device_ids: tuple[int, ...] | None
    heartbeat_timeout: float
    connect_timeout: float

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the coordinator."""
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command.

    Args:
        parser: the parser of the command.
    """
    group = parser.add_argument_group(
        "several processes",
        "Start the same command once for each process: one process a host, or several "
        "on a host with --local-device-ids. All need the same configuration and data, "
        "and a run directory that they share.",
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="find the other processes as JAX does, in Slurm, Kubernetes, Open MPI and "
        "TPU pods",
    )
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        type=_address,
        help="where process 0 runs, and a free port there; the others connect to it",
    )
    group.add_argument(
        "--num-processes",
        metavar="N",
        type=_PROCESSES,
        help="number of processes; with --coordinator",
    )
    group.add_argument(
        "--process-id",
        metavar="I",
        type=ranges.Whole(0, _PROCESSES.most),
        help="index of this process, from 0; with --coordinator",
    )
    group.add_argument(
        "--local-device-ids",
        metavar="IDS",
        type=_ids,
        help='GPUs of this host that this process uses, e.g. "0,1"; default all',
    )
    group.add_argument(
        "--heartbeat-timeout",
        metavar="SECONDS",
        type=_SECONDS,
        help="a process without a sign of life for this long counts as lost, and the "
        f"others exit with code 44; default {HEARTBEAT_TIMEOUT:g}",
    )
    group.add_argument(
        "--connect-timeout",
        metavar="SECONDS",
        type=_SECONDS,
        help="how long a process waits for process 0 to listen; default "
        f"{CONNECT_TIMEOUT:g}",
    )


def parse(arguments: argparse.Namespace) -> Options | None:
    """Checks the options together.

    Args:
        arguments: parsed by a parser to which they were added.

    Returns:
        The options; None for a process without others.

    Raises:
        OptionError: options are missing or exclude each other.
    """
    given = [n for n in _TOGETHER if getattr(arguments, n) is not None]
    if arguments.distributed and given:
        raise OptionError(
            f"{_flag(given[0])}: --distributed detects it; give one of the two"
        )
    if given and len(given) < len(_TOGETHER):
        missing = [_flag(n) for n in _TOGETHER if n not in given]
        raise OptionError(f"{_flag(given[0])}: also needs {' and '.join(missing)}")
    if not given and not arguments.distributed:
        for name in ("local_device_ids", "heartbeat_timeout", "connect_timeout"):
            if getattr(arguments, name) is not None:
                raise OptionError(
                    f"{_flag(name)}: only for several processes, with --distributed or "
                    "--coordinator"
                )
        return None
    if given and arguments.process_id >= arguments.num_processes:
        raise OptionError(
            f"--process-id: {arguments.process_id} is not below --num-processes = "
            f"{arguments.num_processes}; the first process is 0"
        )
    return Options(
        arguments.coordinator,
        arguments.num_processes,
        arguments.process_id,
        arguments.local_device_ids,
        arguments.heartbeat_timeout or HEARTBEAT_TIMEOUT,
        arguments.connect_timeout or CONNECT_TIMEOUT,
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise OptionError(
            f"got {ranges.shown(text)}, accepted: HOST:PORT, such as node0:29400"
        )
    return text


def _ids(text: str) -> tuple[int, ...]:
    ids = tuple(ranges.listed(ranges.Whole())(text))
    if not ids or len(set(ids)) < len(ids):
        raise OptionError(
            f"got {ranges.shown(text)}, accepted: different numbers, such as 0,1"
        )
    return ids
