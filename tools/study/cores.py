"""Assigns CPU cores to runs, across all studies on this machine."""

import contextlib
import os
import pathlib
import socket

from clinometer.kernels.bench import cpu_quota

# An abstract socket name: the kernel manages these for all users, without a file.
_SOCKET = "\0clinometer-core-{}"
_CORES = pathlib.Path("/sys/devices/system/cpu")


def usable() -> list[int]:
    """Returns the cores this process may use.

    The first hardware threads of all physical cores come before the second ones.
    """
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))
    return sorted(cores, key=lambda core: (_place_among_siblings(core, cores), core))


def count() -> int:
    """Returns how many runs fit side by side: the cores, or the container's quota."""
    quota = cpu_quota.cpu_quota()
    cores = len(usable())
    return cores if quota is None else max(1, min(cores, int(quota)))


class Claim:
    """A core that is reserved until `close`: no other study gives it to a run.

    The reservation is the name of a Unix socket. The kernel gives a name to only one
    process on the machine, and frees it when the last process with the socket ends.

    Attributes:
        core: the core's number.
    """

    def __init__(self, core: int, held: socket.socket):
        self.core, self._held = core, held

    @property
    def descriptor(self) -> int:
        """The file descriptor that a run inherits, to keep the claim while it runs."""
        return self._held.fileno()

    def close(self) -> None:
        """Releases this process's hold on the claim."""
        self._held.close()


def claim() -> Claim | None:
    """Claims a free core (Linux only); returns None if there is none."""
    for core in usable():
        held = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            held.bind(_SOCKET.format(core))
            return Claim(core, held)
        held.close()
    return None


def _place_among_siblings(core: int, cores: list[int]) -> int:
    path = _CORES / f"cpu{core}" / "topology" / "thread_siblings_list"
    try:
        text = path.read_text(encoding="ascii").strip()  # such as "0,4" or "0-1"
        siblings = [
            other
            for part in text.split(",")
            for other in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
        ]
    except (OSError, ValueError):
        return 0
    return [other for other in siblings if other in cores].index(core)
